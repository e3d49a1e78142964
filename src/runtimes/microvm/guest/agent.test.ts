import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { text } from 'node:stream/consumers';
import type { GuestProcess } from '../guest-spec.ts';
import { firstCredit, frameType } from '../protocol.ts';
import { GuestAgent } from './agent.ts';
import { encodeFields, fieldOf, parseFields, type Fields } from './fields.ts';
import { encodeFrame, FrameDecoder, type Frame } from './frame-codec.ts';

const process: GuestProcess = {
  args: ['true'],
  env: [],
  cwd: '/',
  uid: 0,
  gid: 0,
  groups: [],
  tty: false,
  stdin: true,
  capabilities: [],
  noNewPrivileges: false,
  rlimits: [],
};

/** Says what a test lets it say. */
class FakeGuest {
  #socket: Socket;
  #frames: Frame[] = [];
  #waiting: ((frame: Frame) => void)[] = [];

  constructor(socket: Socket) {
    this.#socket = socket;
    const decoder = new FrameDecoder();
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      for (const frame of decoder.push(chunk as Buffer)) {
        const next = this.#waiting.shift();
        if (next) next(frame);
        else this.#frames.push(frame);
      }
    });
  }

  async next(): Promise<Frame> {
    return this.#frames.shift() ?? (await new Promise((resolve) => this.#waiting.push(resolve)));
  }

  send(type: number, session: number, payload: Uint8Array | Fields = []): void {
    this.raw(encodeFrame(type, session, payload instanceof Uint8Array ? payload : encodeFields(payload)));
  }

  raw(data: Buffer): void {
    this.#socket.write(data);
  }

  async welcome(): Promise<void> {
    const hello = await this.next();
    assert.equal(hello.type, frameType.hello);
    const nonce = fieldOf(parseFields(hello.payload), 'nonce')!;
    this.send(frameType.welcome, 0, [
      ['nonce', nonce],
      ['version', '1'],
      ['kernel', '6.1'],
      ['bootMs', '12'],
      ['workload', 'running'],
    ]);
  }

  end(): void {
    this.#socket.destroy();
  }
}

let directory: string;
let path: string;
let server: Server;
let agents: GuestAgent[];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'isle-agent-'));
  path = join(directory, 'agent.sock');
  agents = [];
});

afterEach(async () => {
  for (const agent of agents) agent.close();
  await new Promise((resolve) => server.close(resolve));
  rmSync(directory, { recursive: true });
});

/** A guest that is met by the next connection. */
async function listen(): Promise<{ guest: Promise<FakeGuest> }> {
  server = createServer();
  const guest = once(server, 'connection').then(([socket]) => new FakeGuest(socket as Socket));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return { guest };
}

async function pair(): Promise<{ guest: FakeGuest; agent: GuestAgent }> {
  const { guest } = await listen();
  const connecting = GuestAgent.connect(path, { timeout: 10_000 });
  const fake = await guest;
  await fake.welcome();
  const agent = await connecting;
  agents.push(agent);
  return { guest: fake, agent };
}

async function execPair(): Promise<
  Awaited<ReturnType<typeof pair>> & { exec: Awaited<ReturnType<GuestAgent['exec']>>; session: number }
> {
  const { guest, agent } = await pair();
  const starting = agent.exec(process);
  const { session } = await guest.next();
  guest.send(frameType.started, session, [['pid', '7']]);
  return { guest, agent, exec: await starting, session };
}

test('the socket may appear later than the client asks for it', async () => {
  const connecting = GuestAgent.connect(path, { timeout: 10_000 });
  const { guest } = await listen();
  await (await guest).welcome();
  const agent = await connecting;
  agents.push(agent);
  assert.deepEqual(agent.welcome, { version: 1, kernel: '6.1', bootMs: 12, workload: 'running' });
});

test('what a former client was sent, and welcomes to others, are not taken for an answer', async () => {
  const { guest } = await listen();
  const connecting = GuestAgent.connect(path, { timeout: 10_000 });
  const fake = await guest;
  fake.raw(Buffer.alloc(5000, 0x41));
  fake.send(frameType.welcome, 0, [['nonce', 'another']]);
  fake.raw(encodeFrame(frameType.stdout, 9, Buffer.alloc(100)).subarray(40));
  await fake.welcome();
  agents.push(await connecting);
});

test('a guest that does not answer the greeting is unresponsive', async () => {
  const { guest } = await listen();
  await assert.rejects(GuestAgent.connect(path, { timeout: 300 }), { code: 'guestUnresponsive' });
  (await guest).end();
});

test('an aborted connect fails with its reason', async () => {
  await listen();
  const controller = new AbortController();
  const connecting = GuestAgent.connect(path, { timeout: 10_000, signal: controller.signal });
  controller.abort(new Error('not wanted'));
  await assert.rejects(connecting, { message: 'not wanted' });
});

test('a guest that goes away fails what waits and everything after it', async () => {
  const { guest, agent, exec } = await execPair();
  const asked = agent.stats();
  guest.end();
  await assert.rejects(asked, { code: 'guestGone' });
  await assert.rejects(exec.exit, { code: 'guestGone' });
  await assert.rejects(agent.processes(), { code: 'guestGone' });
  assert.equal((await agent.closed)?.name, 'IsleError');
});

test('a request that is not answered in time fails alone', async () => {
  const { guest, agent } = await pair();
  const running = agent.run(
    {
      share: { tag: 'isle', directory: '' },
      readonlyRoot: false,
      hostname: '',
      domainname: '',
      links: [],
      mounts: [],
      maskedPaths: [],
      readonlyPaths: [],
      sysctls: {},
      init: false,
      process,
      time: 0n,
      seed: '',
    },
    100,
  );
  await assert.rejects(running, { code: 'guestUnresponsive' });
  assert.equal((await guest.next()).type, frameType.run);
  const signalled = agent.signal(15);
  const { type, session, payload } = await guest.next();
  assert.equal(type, frameType.signal);
  assert.deepEqual(parseFields(payload), [['signal', '15']]);
  guest.send(frameType.done, session);
  await signalled;
});

test('garbage gives the guest up', async () => {
  const { guest, agent } = await pair();
  const asked = agent.stats();
  guest.raw(Buffer.alloc(64, 0xff));
  await assert.rejects(asked, { code: 'guestBroken' });
  assert.match(String(await agent.closed), /guest may be compromised/);
});

test('an answer that is no list of fields gives the guest up', async () => {
  const { guest, agent } = await pair();
  const asked = agent.stats();
  const { session } = await guest.next();
  guest.send(frameType.done, session, Buffer.from('no end'));
  await assert.rejects(asked, { code: 'guestBroken' });
});

test('answers to nobody are nothing', async () => {
  const { guest, agent } = await pair();
  for (const type of [...Object.values(frameType), 99, 255])
    guest.send(type, 4_000_000_000, Buffer.from('\x01\0\0\0'));
  const asked = agent.clock(5n);
  const { session } = await guest.next();
  // The wrong kind of answer is none either.
  guest.send(frameType.started, session, [['pid', '1']]);
  guest.send(frameType.exit, session, [['code', '1']]);
  guest.send(frameType.done, session);
  await asked;
});

test("a guest's refusal says which step failed", async () => {
  const { guest, agent } = await pair();
  const refusals: [Fields, { code: string; message: RegExp }][] = [
    [
      [
        ['errno', '2'],
        ['what', 'execute'],
        ['detail', 'nope'],
      ],
      { code: 'commandNotFound', message: /"nope": executable file not found/ },
    ],
    [
      [
        ['errno', '13'],
        ['what', 'execute'],
        ['detail', '/etc'],
      ],
      { code: 'commandNotExecutable', message: /"\/etc": permission denied/ },
    ],
    [
      [
        ['errno', '8'],
        ['what', 'execute'],
        ['detail', '/x\x1b[2J'],
      ],
      { code: 'guestFailed', message: /could not execute: \/x\?\[2J: ENOEXEC/ },
    ],
    [[], { code: 'guestFailed', message: /could not exec: it did not say why/ }],
  ];
  for (const [fields, { code, message }] of refusals) {
    const starting = agent.exec(process);
    const { session } = await guest.next();
    guest.send(frameType.failed, session, fields);
    await assert.rejects(starting, (error: Error & { code: string }) => {
      assert.equal(error.code, code);
      assert.match(error.message, message);
      return true;
    });
  }
});

test('output flows in both streams, is granted again as it is read, and ends with the exit', async () => {
  const { guest, exec, session } = await execPair();
  assert.equal(exec.pid, 7);
  guest.send(frameType.stdout, session, Buffer.alloc(200_000, 'o'));
  guest.send(frameType.stderr, session, Buffer.alloc(50_000, 'e'));
  const [stdout, stderr] = [text(exec.streams.stdout), text(exec.streams.stderr)];
  const grant = await guest.next();
  assert.deepEqual([grant.type, grant.session], [frameType.outputCredit, session]);
  guest.send(frameType.stdout, session, Buffer.alloc(100, 'x'));
  guest.send(frameType.exit, session, [
    ['code', '3'],
    ['oom', '0'],
  ]);
  assert.deepEqual(await exec.exit, { code: 3, oomKilled: false });
  assert.equal((await stdout).length, 200_100);
  assert.equal((await stderr).length, 50_000);
});

test('output that nobody reads is not granted, and more than was granted gives the guest up', async () => {
  const { guest, agent, session } = await execPair();
  for (let sent = 0; sent < firstCredit; sent += 65_536)
    guest.send(frameType.stdout, session, Buffer.alloc(65_536));
  const alive = agent.signal(1);
  // Some of it is in the streams' buffers; a grant may have come for that.
  let frame = await guest.next();
  while (frame.type === frameType.outputCredit) frame = await guest.next();
  guest.send(frameType.done, frame.session);
  await alive;
  for (let more = 0; more < 8; more++) guest.send(frameType.stdout, session, Buffer.alloc(65_536));
  assert.match(String(await agent.closed), /more output than was asked for/);
});

test('output of a closed session is dropped and granted', async () => {
  const { guest, exec, session } = await execPair();
  exec.streams.close();
  for (let round = 0; round < 4; round++) {
    guest.send(frameType.stdout, session, Buffer.alloc(firstCredit / 2));
    let frame = await guest.next();
    if (frame.type === frameType.stdinEnd) frame = await guest.next();
    assert.equal(frame.type, frameType.outputCredit);
  }
  guest.send(frameType.exit, session, [['code', '0']]);
  assert.equal((await exec.exit).code, 0);
});

test('input waits for the guest to ask for it', async () => {
  const { guest, exec, session } = await execPair();
  const stdin = exec.streams.stdin!;
  stdin.end('0123456789');
  guest.send(frameType.stdinCredit, session, credit(4));
  assert.equal((await guest.next()).payload.toString(), '0123');
  guest.send(frameType.stdinCredit, session, credit(100));
  assert.equal((await guest.next()).payload.toString(), '456789');
  assert.equal((await guest.next()).type, frameType.stdinEnd);
});

test('an exec that starts after it was given up is killed', async () => {
  const { guest, agent } = await pair();
  const starting = agent.exec(process, { timeout: 50 });
  await assert.rejects(starting, { code: 'guestUnresponsive' });
  const { session } = await guest.next();
  guest.send(frameType.started, session, [['pid', '7']]);
  const kill = await guest.next();
  assert.equal(kill.type, frameType.signal);
  assert.deepEqual(parseFields(kill.payload), [
    ['signal', '9'],
    ['session', String(session)],
  ]);
});

function credit(size: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32LE(size);
  return payload;
}
