import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ImageConfig } from '../images.ts';
import { applyChanges } from './changes.ts';

const base: ImageConfig = {
  user: '',
  env: ['PATH=/bin', 'A=old'],
  workingDir: '/srv',
  labels: { kept: 'yes' },
  exposedPorts: [],
  volumes: [],
};

test('each instruction changes what it says', () => {
  const cases: [string, Partial<ImageConfig>][] = [
    ['CMD ["a", "b"]', { command: ['a', 'b'] }],
    ['cmd echo $HOME', { command: ['/bin/sh', '-c', 'echo $HOME'] }],
    ['CMD []', { command: [] }],
    ['ENTRYPOINT ["/x"]', { entrypoint: ['/x'] }],
    ["ENV A=new B='x y'", { env: ['PATH=/bin', 'A=new', 'B=x y'] }],
    ['ENV A the rest', { env: ['PATH=/bin', 'A=the rest'] }],
    ['LABEL a=b "c d"="e f"', { labels: { kept: 'yes', a: 'b', 'c d': 'e f' } }],
    ['EXPOSE 80 8000-8001/udp', { exposedPorts: ['80/tcp', '8000/udp', '8001/udp'] }],
    ['USER app:app', { user: 'app:app' }],
    ['VOLUME ["/a", "/b"]', { volumes: ['/a', '/b'] }],
    ['VOLUME /a /b', { volumes: ['/a', '/b'] }],
    ['WORKDIR ../x', { workingDir: '/x' }],
    ['WORKDIR data', { workingDir: '/srv/data' }],
    ['STOPSIGNAL SIGUSR1', { stopSignal: 'SIGUSR1' }],
    ['ONBUILD RUN make', { onBuild: ['RUN make'] }],
    ['SHELL ["/bin/bash", "-c"]', { shell: ['/bin/bash', '-c'] }],
    ['HEALTHCHECK NONE', { healthcheck: { test: ['NONE'] } }],
    [
      'HEALTHCHECK --interval=5s --retries=2 CMD curl -f localhost',
      { healthcheck: { test: ['CMD-SHELL', 'curl -f localhost'], interval: 5e9, retries: 2 } },
    ],
    ['# a comment\n\nUSER x', { user: 'x' }],
  ];
  for (const [change, expected] of cases) {
    assert.deepEqual(applyChanges(base, [change]), { ...base, ...expected }, change);
  }
  assert.deepEqual(base.env, ['PATH=/bin', 'A=old'], 'the given configuration is left alone');
});

test('what is no such instruction is refused by name', () => {
  const cases: [string, RegExp][] = [
    ['RUN make', /RUN is not a valid change command/],
    ['ENV', /ENV requires an argument/],
    ['ENV A', /must have two arguments/],
    ['EXPOSE 70000', /"70000" is not a port/],
    ['USER a b', /exactly one argument/],
    ['ONBUILD FROM x', /FROM is not allowed/],
    ['SHELL bash', /JSON form/],
    ['HEALTHCHECK --foo=1 CMD x', /--foo=1 is not an option/],
    ['constructor x', /constructor is not a valid change/],
  ];
  for (const [change, why] of cases) assert.throws(() => applyChanges(base, [change]), why, change);
});
