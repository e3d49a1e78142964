import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withoutMountPoints } from './changes.ts';
import { parseLogOptions } from './log-options.ts';
import { checkName, randomName } from './names.ts';
import { type RestartQuestion, restartDelay } from './restart-policy.ts';
import { parseSignal } from './signals.ts';
import { parseProcStat } from './stats.ts';
import { parsePs } from './top.ts';

const question = (more: Partial<RestartQuestion>): RestartQuestion => ({
  policy: { name: 'always', maximumRetryCount: 0 },
  exitCode: 1,
  restartCount: 0,
  stoppedByUser: false,
  ranFor: 0,
  lastDelay: 0,
  ...more,
});

test('delays start at 100 ms, double to a minute, and start again after ten good seconds', () => {
  let lastDelay = 0;
  const delays: number[] = [];
  for (let i = 0; i < 12; i++) delays.push((lastDelay = restartDelay(question({ lastDelay }))!));
  assert.deepEqual(delays.slice(0, 3), [100, 200, 400]);
  assert.equal(delays.at(-1), 60_000);
  assert.equal(restartDelay(question({ lastDelay, ranFor: 10_000 })), 100);
});

test('who is asked to end does not come back; on-failure counts', () => {
  assert.equal(restartDelay(question({ stoppedByUser: true })), undefined);
  assert.equal(restartDelay(question({ policy: { name: 'no', maximumRetryCount: 0 } })), undefined);
  const onFailure = { name: 'on-failure', maximumRetryCount: 2 } as const;
  assert.equal(restartDelay(question({ policy: onFailure, exitCode: 0 })), undefined);
  assert.equal(restartDelay(question({ policy: onFailure, restartCount: 1 })), 100);
  assert.equal(restartDelay(question({ policy: onFailure, restartCount: 2 })), undefined);
  assert.equal(
    restartDelay(question({ policy: { ...onFailure, maximumRetryCount: 0 }, restartCount: 999 })),
    100,
  );
});

test('signals by name, with or without SIG, by number, real-time ones too', () => {
  assert.equal(parseSignal('TERM'), 15);
  assert.equal(parseSignal('sigkill'), 9);
  assert.equal(parseSignal('9'), 9);
  assert.equal(parseSignal('SIGRTMIN+3'), 37);
  assert.equal(parseSignal('RTMAX-1'), 63);
  for (const wrong of ['', '0', '65', 'NOPE', 'RTMIN+40', '-1', 'constructor', '9x'])
    assert.throws(() => parseSignal(wrong), /Invalid signal/, wrong);
});

test('names that cannot stand in a path are refused, and shown without control characters', () => {
  checkName('container', 'good-Name_1.x');
  for (const wrong of ['', 'a', '-x', '.x', 'a/b', 'a b', 'é1', 'x'.repeat(256), 'a\nb'])
    assert.throws(() => checkName('container', wrong), /Invalid container name/, wrong);
  assert.throws(
    () => checkName('container', 'a\u001b[31m'),
    (error) => error instanceof Error && !error.message.includes('\u001b'),
  );
});

test('random names are two words, and another one when taken', () => {
  const seen = new Set<string>();
  for (let i = 0; i < 500; i++) {
    const name = randomName((candidate) => seen.has(candidate));
    assert.match(name, /^[a-z]+_[a-z]+\d*$/);
    assert.ok(!seen.has(name));
    seen.add(name);
  }
});

test('log options: sizes and counts are parsed, unknown ones refused with the nearest', () => {
  assert.deepEqual(
    parseLogOptions({ driver: 'json-file', options: { 'max-size': '10m', 'max-file': '3' } }),
    {
      maxSize: 10 * 1024 * 1024,
      maxFile: 3,
    },
  );
  assert.deepEqual(parseLogOptions({ driver: 'json-file', options: {} }), { maxFile: 1 });
  assert.throws(
    () => parseLogOptions({ driver: 'json-file', options: { 'max-files': '3' } }),
    /did you mean "max-file"/,
  );
  assert.throws(
    () => parseLogOptions({ driver: 'json-file', options: { 'max-size': 'big' } }),
    /invalid size/,
  );
  assert.throws(() => parseLogOptions({ driver: 'json-file', options: { 'max-file': '0' } }), /max-file/);
});

test('ps output is cut down to the container, with commands that hold blanks', () => {
  const output = 'UID   PID  PPID CMD\nroot    1     0 init\nroot   42     1 sh -c sleep 5\n';
  assert.deepEqual(parsePs(output, new Set([42])), {
    titles: ['UID', 'PID', 'PPID', 'CMD'],
    processes: [['root', '42', '1', 'sh -c sleep 5']],
  });
  assert.throws(() => parsePs('USER CMD\n', new Set()), /PID field/);
});

test('the time of all processors together, guests not counted twice', () => {
  const text =
    'cpu  10 1 5 100 2 0 3 4 99 99\ncpu0 5 0 2 50 1 0 1 2 0 0\ncpu1 5 1 3 50 1 0 2 2 0 0\nintr 5\n';
  assert.deepEqual(parseProcStat(text), { systemCpuUsage: 125 * 10_000_000, onlineCpus: 2 });
});

test('diff leaves out what was only made to be mounted on', () => {
  const added = (path: string) => ({ path, kind: 1 as const });
  const changed = (path: string) => ({ path, kind: 0 as const });
  const changes = [
    added('/dev'),
    changed('/etc'),
    added('/etc/hosts'),
    added('/data'),
    changed('/root'),
    added('/root/.history'),
  ];
  const record = {
    mountSpecs: [
      { type: 'volume' as const, source: 'v', target: '/data', readOnly: false, origin: 'binds' as const },
    ],
  };
  assert.deepEqual(
    withoutMountPoints(changes, record).map(({ path }) => path),
    ['/root', '/root/.history'],
  );
  const more = [...changes, added('/etc/mine')];
  assert.ok(withoutMountPoints(more, record).some(({ path }) => path === '/etc'));
});
