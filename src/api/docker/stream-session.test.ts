import assert from 'node:assert/strict';
import { Duplex, PassThrough } from 'node:stream';
import { test } from 'node:test';
import { serveStreams, type SessionOptions } from './stream-session.ts';

const all: SessionOptions = { tty: false, stdin: true, stdout: true, stderr: true, detachKeys: [16, 17] };

/** What a client sees of a process, and what the process sees of it. */
function session(more: Partial<SessionOptions> = {}) {
  const received: Buffer[] = [];
  const client = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      received.push(chunk);
      done();
    },
  });
  const process = {
    stdin: new PassThrough(),
    stdout: new PassThrough(),
    stderr: new PassThrough(),
    closed: false,
    close() {
      this.closed = true;
    },
  };
  const served = serveStreams(client, process, { ...all, ...more });
  return { client, process, served, output: () => Buffer.concat(received).toString('latin1') };
}

test('input that ends leaves the output flowing', async () => {
  const { client, process, served, output } = session();
  client.push('in');
  client.push(null);
  assert.equal((await process.stdin.toArray()).join(''), 'in');
  process.stdout.end('late');
  process.stderr.end();
  await served;
  assert.match(output(), /late$/);
  assert.equal(process.closed, true);
});

test('a client that was gone before it began ends the session', async () => {
  const { client, process } = session();
  client.destroy();
  const again = serveStreams(
    client,
    { ...process, stdout: new PassThrough(), stderr: new PassThrough() },
    all,
  );
  await again;
});

test('a process that ended but left its output to a child is not waited for', async () => {
  const { process, served, output } = session({ exited: Promise.resolve() });
  process.stdout.write('last words');
  await served;
  assert.match(output(), /last words$/);
});

test('output that nobody asked for is read and dropped', async () => {
  const { process, served, output } = session({ stdout: false });
  process.stdout.write(Buffer.alloc(1024 * 1024));
  process.stdout.end();
  process.stderr.end('err');
  await served;
  assert.match(output(), /^.{8}err$/s);
});

test('the detach keys end the session of a terminal only', async () => {
  const terminal = session({ tty: true });
  terminal.client.push('\x10\x11');
  await terminal.served;
  assert.equal(terminal.process.closed, true);
  const plain = session();
  plain.client.push('\x10\x11');
  plain.client.push(null);
  assert.equal((await plain.process.stdin.toArray()).join(''), '\x10\x11');
  plain.process.stdout.end();
  plain.process.stderr.end();
  await plain.served;
});

test('a process that closed its input is no trouble', async () => {
  const { client, process, served } = session();
  process.stdin.destroy();
  client.push('nobody reads this');
  process.stdout.end('done');
  process.stderr.end();
  await served;
});
