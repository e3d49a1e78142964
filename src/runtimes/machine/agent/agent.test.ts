import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import fc from 'fast-check';
import { isIsleError } from '../../../lib/errors.ts';
import type { LiveMachine } from '../live-machine.ts';
import { openAgent, withAgent } from './agent.ts';
import { guestExec } from './command.ts';
import { freeze, thawForgotten } from './freeze.ts';
import { guestInfo } from './guest-info.ts';
import { AgentMessages } from './messages.ts';

let directory: string;
let server: Server;
/** What the agent was told, and how it answers. */
let told: string[];
let answer: (command: string, socket: Socket) => unknown;
const machine = {
  id: 'vm',
  agentSocket: async () => join(directory, 'socket'),
  get hardware() {
    return { directory } as LiveMachine['hardware'];
  },
};

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'isle-agent-'));
  told = [];
  answer = () => ({});
  server = createServer((socket) => {
    let text = '';
    socket.on('error', () => {});
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1').replaceAll('\xff', '');
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        respond(text.slice(0, end), socket);
        text = text.slice(end + 1);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(join(directory, 'socket'), resolve));
});
afterEach(async () => {
  await new Promise((resolve) => server.close(resolve));
  rmSync(directory, { recursive: true, force: true });
});

function respond(line: string, socket: Socket): void {
  const { execute, arguments: args } = JSON.parse(line) as { execute: string; arguments?: { id?: number } };
  if (execute !== 'guest-sync-delimited') told.push(execute);
  const value = execute === 'guest-sync-delimited' ? args!.id : answer(execute, socket);
  if (value === undefined) return;
  const head = execute === 'guest-sync-delimited' ? Buffer.from([0xff]) : Buffer.alloc(0);
  const reply = value instanceof Error ? { error: { desc: value.message } } : { return: value };
  socket.write(Buffer.concat([head, Buffer.from(`${JSON.stringify(reply)}\n`)]));
}

test('what an agent still had for somebody else is not taken for an answer', async () => {
  server.prependListener('connection', (socket: Socket) => {
    socket.write('{"return": "stale"}\n{"return": "half');
  });
  answer = (command) => `answer to ${command}`;
  await withAgent(machine, async (agent) => {
    const both = await Promise.all([agent.execute('guest-a'), agent.execute('guest-b')]);
    assert.deepEqual(both, ['answer to guest-a', 'answer to guest-b']);
  });
});

test('an agent that hangs, talks without end or breaks off fails one call, in time', async () => {
  answer = () => undefined;
  await withAgent(machine, async (agent) => {
    await assert.rejects(agent.execute('guest-x', undefined, { patience: 50 }), {
      code: 'guestUnresponsive',
    });
    await assert.rejects(agent.execute('guest-y'), { code: 'guestGone' });
  });
  answer = (_command, socket) => {
    const fill = (): void => {
      while (socket.writable && socket.write('x'.repeat(65_536)));
      if (socket.writable) socket.once('drain', fill);
    };
    fill();
  };
  await withAgent(machine, async (agent) => {
    await assert.rejects(agent.execute('guest-x'), { code: 'guestBroken' });
  });
  answer = (_command, socket) => void socket.destroy();
  await withAgent(machine, async (agent) => {
    await assert.rejects(agent.execute('guest-x'), { code: 'guestGone' });
  });
  answer = () => new Error('no');
  await withAgent(machine, async (agent) => {
    await assert.rejects(agent.execute('guest-x'), /guest-x: no/);
  });
});

test('a port that nobody serves inside the guest is told apart in time', async () => {
  server.removeAllListeners('connection');
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => open.add(socket));
  await assert.rejects(openAgent(machine, { patience: 80 }), { code: 'guestUnresponsive' });
  for (const socket of open) socket.destroy();
});

test('an agent that answers without end, but never what was asked, is given up in time', async () => {
  server.removeAllListeners('connection');
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open.add(socket.on('error', () => {}));
    const talk = (): void => {
      if (socket.writable) socket.write('{"return": 0}\n', () => setImmediate(talk));
    };
    talk();
  });
  await assert.rejects(openAgent(machine, { patience: 100 }), { code: 'guestUnresponsive' });
  for (const socket of open) socket.destroy();
});

test('no words of a refusal break the reader of answers', () => {
  const odd = Buffer.from('{"error": {"desc": {"toString": 1}}}\n');
  assert.deepEqual(Array.from(new AgentMessages().take(odd)), [
    { delimited: false, kind: 'error', why: 'it says not why' },
  ]);
});

test('no bytes make the reader of answers throw anything but its own error, or grow', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 200 })), (chunks) => {
      const messages = new AgentMessages();
      messages.expect(300);
      try {
        for (const chunk of chunks) for (const one of messages.take(Buffer.from(chunk))) assert.ok(one.kind);
      } catch (error) {
        assert.ok(isIsleError(error, 'guestBroken'), String(error));
      }
    }),
    { numRuns: 500 },
  );
});

test('frozen is thawed, and nothing says any more that it was frozen', async () => {
  answer = () => 2;
  {
    await using _frozen = await freeze(machine);
    assert.ok(existsSync(join(directory, 'frozen')));
  }
  assert.deepEqual(told, ['guest-fsfreeze-freeze', 'guest-fsfreeze-thaw']);
  assert.ok(!existsSync(join(directory, 'frozen')));
});

test('a freeze that fails, or that nobody answers, is thawed too; and so is one that a dead daemon left', async () => {
  answer = (command) => (command === 'guest-fsfreeze-freeze' ? new Error('cannot') : 0);
  await assert.rejects(freeze(machine), /cannot/);
  answer = () => 0;
  await assert.rejects(freeze(machine), /none that can be frozen/);
  writeFileSync(join(directory, 'frozen'), '');
  await thawForgotten(machine);
  await thawForgotten(machine);
  assert.deepEqual(told, [
    ...['guest-fsfreeze-freeze', 'guest-fsfreeze-thaw'],
    ...['guest-fsfreeze-freeze', 'guest-fsfreeze-thaw'],
    'guest-fsfreeze-thaw',
  ]);
  assert.ok(!existsSync(join(directory, 'frozen')));
});

test('a link that QEMU puts where it is noted that a guest is frozen leads nowhere', async () => {
  const elsewhere = join(directory, 'elsewhere');
  writeFileSync(elsewhere, 'kept');
  symlinkSync(elsewhere, join(directory, 'frozen'));
  answer = () => 1;
  await (await freeze(machine))[Symbol.asyncDispose]();
  assert.equal(readFileSync(elsewhere, 'utf8'), 'kept');
});

test('a thaw that fails is tried again', async () => {
  let thaws = 0;
  answer = (command) => (command === 'guest-fsfreeze-thaw' && ++thaws < 3 ? new Error('not now') : 1);
  await (await freeze(machine))[Symbol.asyncDispose]();
  assert.equal(thaws, 3);
});

test('what a guest says of itself is shown only as far as it can be', async () => {
  const said: Record<string, unknown> = {
    'guest-get-host-name': { 'host-name': 'evil\u001b[2J\nname' },
    'guest-get-osinfo': { 'pretty-name': ['Debian'] },
    'guest-network-get-interfaces': [
      { name: 'lo', 'ip-addresses': [{ 'ip-address': '127.0.0.1', prefix: 8 }] },
      {
        name: 'eth0',
        'ip-addresses': [{ 'ip-address': '10.0.0.2', prefix: 24 }, { 'ip-address': 'x' }, null],
      },
      7,
    ],
  };
  answer = (command) => said[command] ?? null;
  assert.deepEqual(await guestInfo(machine), {
    hostname: 'evil[2Jname',
    addresses: [{ interface: 'eth0', address: '10.0.0.2/24' }],
  });
  await fc.assert(
    fc.asyncProperty(fc.jsonValue(), async (value) => {
      answer = () => value ?? null;
      assert.ok((await guestInfo(machine))?.addresses);
    }),
    { numRuns: 50 },
  );
});

test('commands are passed on as they are, whatever is in them', () => {
  fc.assert(
    fc.property(fc.array(fc.string(), { minLength: 1 }), fc.string(), (args, cwd) => {
      const clean = args.map((one) => one.replaceAll('\0', ''));
      const { path, arg } = guestExec({ args: clean, env: [], cwd: cwd.replaceAll('\0', ''), user: '' });
      assert.deepEqual([path, ...arg].slice(-clean.length), clean);
    }),
  );
});
