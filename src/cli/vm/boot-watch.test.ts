import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bootSignIn } from './boot-watch.ts';

test('a guest is up when somebody may log in', () => {
  const up: [string, string][] = [
    ['Debian GNU/Linux 12 deb ttyS0\r\n\r\ndeb login: ', 'a login prompt'],
    ['\x1b[0m\x1b[1mubuntu login: ', 'a login prompt'],
    ['login: ', 'a login prompt'],
    ['tiny login: root (automatic login)\r\n\r\n# ', 'a login prompt'],
    [
      'x\r\nCloud-init v. 22.4.2 finished at Fri, 20 Nov 2026 15:00:00 +0000. Datasource DataSourceNoCloud',
      'the end of cloud-init',
    ],
    ['[   20.1] cloud-init[512]: Cloud-init v. 24.1 finished at x', 'the end of cloud-init'],
  ];
  for (const [text, sign] of up) assert.equal(bootSignIn(text), sign, text);
  const notYet = [
    '',
    'booting',
    'deb login: root\r\nPassword: ',
    'Last login: Fri Nov 20\r\n$ ',
    'no login: today\nx',
    'cloud-init running',
  ];
  for (const text of notYet) assert.equal(bootSignIn(text), undefined, text);
});
