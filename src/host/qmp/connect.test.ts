import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { isIsleError } from '../../lib/errors.ts';
import { connectQmp, withQmp } from './connect.ts';

const event = '{"event": "RESET", "timestamp": {"seconds": 2, "microseconds": 5}}\n';

function place(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'isle-qmp-'));
  t.after(() => rmSync(directory, { recursive: true }));
  mkdirSync(join(directory, 'sockets'));
  return join(directory, 'sockets/qmp');
}

type Command = { execute: string; arguments?: Record<string, unknown>; id: number };

/** A monitor that negotiates, then gives each command to `on`. */
async function monitor(
  t: TestContext,
  on: (command: Command, socket: Socket) => void,
  greeting = '{"QMP": {}}\n',
): Promise<string> {
  const path = place(t);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).write(greeting);
    let rest = '';
    socket.on('data', (chunk) => {
      const lines = (rest + String(chunk)).split('\n');
      rest = lines.pop() ?? '';
      for (const command of lines.map((line) => JSON.parse(line) as Command))
        if (command.execute === 'qmp_capabilities') answer(socket, command, {});
        else on(command, socket);
    });
  }).listen(path);
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return path;
}

function answer(socket: Socket, { id }: Command, value: unknown): void {
  socket.write(`${JSON.stringify({ return: value, id })}\n`);
}

test('answers find their commands by id, whatever comes between and in any order', async (t) => {
  const waiting: Command[] = [];
  const path = await monitor(t, (command, socket) => {
    waiting.push(command);
    if (waiting.length < 3) return;
    socket.write(event.repeat(20));
    for (const late of waiting.toReversed()) answer(socket, late, late.execute);
  });
  const qmp = await connectQmp(path);
  assert.deepEqual(await Promise.all(['a', 'b', 'c'].map((name) => qmp.execute(name))), ['a', 'b', 'c']);
  qmp.close();
  await qmp.closed;
  await assert.rejects(qmp.execute('d'), (error) => isIsleError(error, 'guestGone'));
});

test('a refusal carries the words of QEMU', async (t) => {
  const path = await monitor(t, ({ id }, socket) => {
    socket.write(`${JSON.stringify({ error: { class: 'GenericError', desc: 'no such node' }, id })}\n`);
  });
  await assert.rejects(
    withQmp(path, (qmp) => qmp.execute('blockdev-del')),
    /blockdev-del: no such node/,
  );
});

test('a command that is not answered is given up, and what it says later is passed over', async (t) => {
  const path = await monitor(t, (command, socket) => {
    if (command.execute !== 'slow') answer(socket, { ...command, id: command.id - 1 }, 'late');
    if (command.execute !== 'slow') answer(socket, command, 'now');
  });
  await withQmp(path, async (qmp) => {
    await assert.rejects(qmp.execute('slow', {}, { patience: 50 }), (error) =>
      isIsleError(error, 'guestUnresponsive'),
    );
    assert.equal(await qmp.execute('other'), 'now');
  });
});

test('events reach each listener until it stops listening', async (t) => {
  const path = await monitor(t, (command, socket) => {
    socket.write(event.repeat(2));
    answer(socket, command, {});
  });
  const qmp = await connectQmp(path);
  const stop = new AbortController();
  const events = qmp.events(stop.signal);
  await qmp.execute('go');
  stop.abort();
  const seen = await Array.fromAsync(events);
  assert.deepEqual(seen, [
    { event: 'RESET', data: {}, at: 2_000_005 },
    { event: 'RESET', data: {}, at: 2_000_005 },
  ]);
  qmp.close();
});

test('a QEMU that answers what nobody asked is not read faster than it can be bothered with', async (t) => {
  let sent = 0;
  const path = await monitor(t, (_, socket) => {
    const words = '{"return":{},"id":4711}\n\n{}\n'.repeat(500);
    const flood = () => {
      sent += 1500;
      socket.write(words, () => socket.destroyed || setImmediate(flood));
    };
    flood();
  });
  const qmp = await connectQmp(path);
  await assert.rejects(qmp.execute('query', {}, { patience: 500 }), { code: 'guestUnresponsive' });
  qmp.close();
  // What a stopped reader's buffers hold, beside what was read.
  assert.ok(sent < 1_000_000, `${sent}`);
});

test('a QEMU that sends nothing but events fills no memory, and its commands time out', async (t) => {
  const path = await monitor(t, (_, socket) => {
    const flood = () => socket.write(event.repeat(1000), () => socket.destroyed || setImmediate(flood));
    flood();
  });
  const qmp = await connectQmp(path);
  const events = qmp.events(AbortSignal.timeout(1000));
  await assert.rejects(qmp.execute('query', {}, { patience: 500 }), (error) =>
    isIsleError(error, 'guestUnresponsive'),
  );
  qmp.close();
  assert.ok((await Array.fromAsync(events)).length <= 4096);
});

for (const [what, words] of [
  ['nonsense', 'nonsense\n'],
  ['a number', '7\n'],
  ['a message without end', 'x'.repeat(5 * 1024 * 1024)],
] as const)
  test(`a QEMU that sends ${what} is given up`, async (t) => {
    const path = await monitor(t, (_, socket) => socket.write(words));
    const qmp = await connectQmp(path);
    await assert.rejects(qmp.execute('query'), /no QEMU sends/);
    await qmp.closed;
  });

test('a monitor that never greets is given up', async (t) => {
  const path = await monitor(t, () => {}, '');
  await assert.rejects(connectQmp(path, { patience: 100 }), (error) =>
    isIsleError(error, 'guestUnresponsive'),
  );
});

test('a socket at which nobody listens yet is waited for, and one of the dead is not for long', async (t) => {
  const path = place(t);
  const late = `
import socket, sys, time
monitor = socket.socket(socket.AF_UNIX)
monitor.bind(sys.argv[1])
print(flush=True)
time.sleep(float(sys.argv[2]))
monitor.listen()
client, _ = monitor.accept()
client.send(b'{"QMP": {}}\\n')
client.recv(4096)
client.send(b'{"return": {}, "id": 1}\\n')
client.recv(4096)
`;
  const child = spawn('python3', ['-c', late, path, '0.3'], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
  (await connectQmp(path)).close();
  await once(child, 'exit');
  await assert.rejects(connectQmp(path), (error) => isIsleError(error, 'guestGone'));
});

test('a job is followed to its end, with progress, and its error is told', async (t) => {
  const changed = (status: string) =>
    `${JSON.stringify({ event: 'JOB_STATUS_CHANGE', data: { id: 'job', status } })}\n`;
  const seen: string[] = [];
  const path = await monitor(t, (command, socket) => {
    seen.push(command.execute);
    const job = { id: 'job', 'current-progress': 3, 'total-progress': 9, error: 'disk full' };
    answer(socket, command, command.execute === 'query-jobs' ? [job] : {});
    const looks = seen.filter((name) => name === 'query-jobs').length;
    if (looks === 2) socket.write(changed('concluded'));
  });
  const progress: number[][] = [];
  await withQmp(path, async (qmp) => {
    const running = qmp.job('job', () => qmp.execute('snapshot-save'), {
      onProgress: (done, total) => progress.push([done, total]),
    });
    await assert.rejects(running, /job job: disk full/);
  });
  assert.deepEqual(progress[0], [3, 9]);
  assert.equal(seen.at(-1), 'job-dismiss');
});

test('a real QEMU is asked, obeys a job, and its end is seen', async (t) => {
  const path = place(t);
  const qemu = spawn(
    'qemu-system-x86_64',
    [
      ...[
        '-M',
        'none',
        '-display',
        'none',
        '-nodefaults',
        '-chardev',
        `socket,id=m,path=${path},server=on,wait=off`,
      ],
      ...['-mon', 'chardev=m,mode=control'],
    ],
    { stdio: 'ignore' },
  );
  t.after(() => qemu.kill('SIGKILL'));
  const qmp = await connectQmp(path, { patience: 20_000 });
  const file = `${path}.raw`;
  await qmp.job('make', () =>
    qmp.execute('blockdev-create', {
      'job-id': 'make',
      options: { driver: 'file', filename: file, size: 1 << 20 },
    }),
  );
  await assert.rejects(
    qmp.job('again', () =>
      qmp.execute('blockdev-create', {
        'job-id': 'again',
        options: { driver: 'file', filename: `${file}/none`, size: 1 << 20 },
      }),
    ),
    /Not a directory/,
  );
  assert.deepEqual(await qmp.execute('query-jobs'), []);
  const events = Array.fromAsync(qmp.events(new AbortController().signal));
  await qmp.execute('quit');
  await qmp.closed;
  assert.ok((await events).some(({ event: name }) => name === 'SHUTDOWN'));
});
