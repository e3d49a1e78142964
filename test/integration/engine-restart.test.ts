import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { DatabaseSync } from 'node:sqlite';
import { closeSync, fstatSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { startDaemon, TestDaemon } from '../fixtures/daemon.ts';

interface Inspected {
  Id: string;
  RestartCount: number;
  State: { Status: string; ExitCode: number; Pid: number; FinishedAt: string; OOMKilled: boolean };
  NetworkSettings: { Ports: Record<string, { HostPort: string }[] | null> };
}

let daemon: TestDaemon;

before(async () => {
  daemon = await startDaemon();
});

after(async () => {
  await daemon.close();
});

async function run(name: string, command: string, host: Record<string, unknown> = {}): Promise<string> {
  const body = {
    Image: 'busybox',
    Cmd: ['sh', '-c', command],
    ExposedPorts: { '80/tcp': {} },
    HostConfig: host,
  };
  const { Id } = (await daemon.ok('POST', `/containers/create?name=${name}`, body)).json<{ Id: string }>();
  await daemon.ok('POST', `/containers/${Id}/start`);
  return Id;
}

const inspect = async (name: string) =>
  (await daemon.ok('GET', `/containers/${name}/json`)).json<Inspected>();

/** Waits for a state that comes by itself. */
async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (let attempt = 0; attempt < 400; attempt++) {
    if (await holds()) return;
    await sleep(25);
  }
  assert.fail(`never: ${what}`);
}

const logsOf = async (name: string) =>
  (await daemon.ok('GET', `/containers/${name}/logs?stdout=1`)).text
    // oxlint-disable-next-line no-control-regex
    .replace(/[\x00-\x08].{7}/gs, '');

function answers(port: number): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect(port, '127.0.0.1');
  socket.once('error', () => resolve(false));
  socket.setTimeout(2000, () => resolve(false));
  socket.once('data', () => resolve(true));
  return promise.finally(() => socket.destroy());
}

test('kill -9 of the daemon stops no container, loses no log line, no exit code and no port', async () => {
  await run('ticker', 'i=0; while true; do i=$((i+1)); echo line $i; sleep 0.05; done');
  await run('leaver', 'sleep 1; echo bye; exit 42');
  const http = 'while true; do echo hello | nc -l -p 80; done';
  await run('server', http, { PortBindings: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '' }] } });
  const before = await inspect('server');
  const port = Number(before.NetworkSettings.Ports['80/tcp']?.[0]?.HostPort);
  await daemon.kill9();
  await sleep(1300);
  await daemon.start();
  const after = await inspect('server');
  assert.equal(after.State.Pid, before.State.Pid);
  assert.equal(Number(after.NetworkSettings.Ports['80/tcp']?.[0]?.HostPort), port);
  assert.ok(await answers(port), `port ${port} answers`);
  const left = await inspect('leaver');
  assert.deepEqual([left.State.Status, left.State.ExitCode], ['exited', 42]);
  assert.ok(Date.parse(left.State.FinishedAt) < Date.now() - 200, 'it ended while the daemon was away');
  assert.match(await logsOf('leaver'), /bye/);
  const lines = (await logsOf('ticker')).split('\n').filter((line) => line.startsWith('line '));
  assert.deepEqual(
    lines.map((line) => Number(line.slice(5))),
    lines.map((_, index) => index + 1),
    'no line is missing',
  );
  assert.ok(lines.length > 20, `${lines.length} lines`);
});

test('waiting, stopping and executing work on what an earlier daemon started', async () => {
  await run('veteran', 'trap "exit 9" TERM; sleep 1000 & wait');
  await daemon.stop();
  await daemon.start();
  const exec = (await daemon.ok('POST', '/containers/veteran/exec', { Cmd: ['true'] })).json<{
    Id: string;
  }>();
  await daemon.ok('POST', `/exec/${exec.Id}/start`, { Detach: true });
  const waiting = daemon.ok('POST', '/containers/veteran/wait');
  assert.equal((await daemon.ok('POST', '/containers/veteran/stop?t=5')).status, 204);
  assert.equal((await waiting).json<{ StatusCode: number }>().StatusCode, 9);
});

test('restart policies go on across daemons, and what the user stopped stays stopped', async () => {
  const policy = (Name: string) => ({ RestartPolicy: { Name } });
  await run('always', 'sleep 1000', policy('always'));
  await run('unless', 'sleep 1000', policy('unless-stopped'));
  await run('crashing', 'sleep 0.3; exit 1', policy('always'));
  await daemon.ok('POST', '/containers/unless/stop?t=0');
  await daemon.ok('POST', '/containers/always/stop?t=0');
  await daemon.kill9();
  await sleep(500);
  await daemon.start();
  await until('always is up', async () => (await inspect('always')).State.Status === 'running');
  assert.equal((await inspect('unless')).State.Status, 'exited');
  const { RestartCount } = await inspect('crashing');
  await until('crashing restarts', async () => (await inspect('crashing')).RestartCount > RestartCount);
});

test('a container with --rm that ended while no daemon was there is gone', async () => {
  await run('brief', 'sleep 0.3', { AutoRemove: true });
  await daemon.kill9();
  await sleep(600);
  await daemon.start();
  await until(
    'brief is gone',
    async () => (await daemon.call('GET', '/containers/brief/json')).status === 404,
  );
});

test('a second daemon on one data root is refused with the process that has it', async () => {
  const second = new TestDaemon(['--data-root', daemon.dataRoot]);
  await assert.rejects(
    second.start(),
    new RegExp(`in use by another Isle daemon \\(process ${daemon.pid}\\)`),
  );
  await second.close();
});

test('a container whose process was killed while no daemon was there ended with its signal', async () => {
  await run('shot', 'sleep 1000');
  const { State } = await inspect('shot');
  await daemon.kill9();
  process.kill(State.Pid, 'SIGKILL');
  await daemon.start();
  const { State: now } = await inspect('shot');
  assert.deepEqual([now.Status, now.ExitCode], ['exited', 137]);
});

test('a damaged database is set aside: what can be read is kept, and what runs is taken up again', async () => {
  await run('survivor', 'sleep 1000');
  await daemon.stop();
  const path = join(daemon.dataRoot, 'isle.db');
  damagePages(path);
  await daemon.start();
  assert.match(daemon.log(), /set aside/);
  assert.equal((await inspect('survivor')).State.Status, 'running');
});

test('of a database of which nothing can be read the last backup is taken, and what runs goes on', async () => {
  await daemon.stop();
  const path = join(daemon.dataRoot, 'isle.db');
  writeFileSync(path, 'no database at all '.repeat(1000));
  await daemon.start();
  assert.equal((await inspect('survivor')).State.Status, 'running');
  await daemon.stop();
  rmSync(`${path}.backup`);
  writeFileSync(path, 'no database at all '.repeat(1000));
  await daemon.start();
  assert.deepEqual((await daemon.ok('GET', '/containers/json?all=1')).json(), []);
  await daemon.loadBusybox();
  await run('fresh', 'sleep 1000');
  assert.equal((await inspect('fresh')).State.Status, 'running');
});

/** Overwrites pages that hold past events and nothing that is needed: those at the end of the file. */
function damagePages(path: string): void {
  const database = new DatabaseSync(path);
  database.exec(`PRAGMA wal_checkpoint(TRUNCATE); VACUUM;`);
  database.exec(
    `CREATE TABLE ballast (text); INSERT INTO ballast SELECT hex(randomblob(3000)) FROM json_each('[1,2,3,4]')`,
  );
  database.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  database.close();
  const file = openSync(path, 'r+');
  const { size } = fstatSync(file);
  writeSync(file, Buffer.alloc(8192, 0xa5), 0, 8192, size - 16_384);
  closeSync(file);
}
