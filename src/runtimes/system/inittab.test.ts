import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rewriteInittab } from './inittab.ts';

test("sysvinit's table loses the terminals that are not there, gets a console and shuts down when power fails", () => {
  const table = [
    'id:2:initdefault:',
    '# 1:2345:respawn:/sbin/getty 38400 tty1',
    '1:2345:respawn:/sbin/getty --noclear 38400 tty1',
    'T0:23:respawn:/sbin/getty -L ttyS0 9600 vt100',
    'pf::powerwait:/etc/init.d/powerfail start',
    'ca:12345:ctrlaltdel:/sbin/shutdown -t1 -a -r now',
    '',
  ].join('\n');
  assert.equal(
    rewriteInittab(table, 'sysvinit'),
    [
      'id:2:initdefault:',
      '# 1:2345:respawn:/sbin/getty 38400 tty1',
      'ca:12345:ctrlaltdel:/sbin/shutdown -t1 -a -r now',
      'co:2345:respawn:/sbin/getty 38400 console',
      'pz:012345:powerwait:/sbin/shutdown -h now',
      '',
    ].join('\n'),
  );
});

test('a console that the table has stays the only one', () => {
  const table = 'co:2345:respawn:/sbin/getty 115200 console\n';
  assert.equal(rewriteInittab(table, 'sysvinit').match(/respawn/g)?.length, 1);
});

test("busybox's table names the terminal first", () => {
  const table =
    '::sysinit:/sbin/openrc sysinit\ntty1::respawn:/sbin/getty 38400 tty1\ntty2::askfirst:-/bin/sh\n';
  assert.equal(
    rewriteInittab(table, 'busybox'),
    '::sysinit:/sbin/openrc sysinit\nconsole::respawn:/sbin/getty 38400 console\n',
  );
});
