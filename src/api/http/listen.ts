import { chmod, chown, lstat, mkdir, readFile, rename, rm, rmdir } from 'node:fs/promises';
import { once } from 'node:events';
import type { Server } from 'node:http';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { isleError, errnoOf } from '../../lib/errors.ts';

/** bytes that the kernel's sockaddr_un holds */
const longestPath = 107;

/**
 * Listens on a UNIX socket of mode 0660 that belongs to the group `isle`, where there is one. The socket gets its
 * name only when mode and group are right, so that nobody can connect before. Throws `conflict` when something
 * answers there already.
 */
export async function listenUnix(server: Server, path: string): Promise<void> {
  if (Buffer.byteLength(path) > longestPath)
    throw isleError('invalidParameter', {
      message: `cannot listen on ${path}: the path of a UNIX socket has at most ${longestPath} bytes`,
    });
  await assertFree(path);
  // No umask: it holds for the whole process, whose other threads make directories meanwhile.
  const closed = join(dirname(path), `.${process.pid}`);
  const temporary = join(closed, 's');
  await rm(closed, { recursive: true, force: true });
  await mkdir(closed, { mode: 0o700 });
  server.listen(temporary);
  await Promise.race([once(server, 'listening'), failed(server)]);
  const group = await groupId('isle');
  if (group !== undefined) await chown(temporary, 0, group);
  await chmod(temporary, 0o660);
  await rename(temporary, path);
  await rmdir(closed);
}

export async function listenTcp(server: Server, host: string, port: number): Promise<void> {
  server.listen(port, host);
  await Promise.race([once(server, 'listening'), failed(server)]);
}

async function failed(server: Server): Promise<never> {
  const [error] = (await once(server, 'error')) as [Error];
  throw error;
}

async function assertFree(path: string): Promise<void> {
  const found = await lstat(path).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (!found) return;
  if (!found.isSocket())
    throw isleError('conflict', { message: `cannot listen on ${path}: it exists and is not a socket` });
  if (await answers(path))
    throw isleError('conflict', { message: `cannot listen on ${path}: another daemon serves it` });
}

async function answers(path: string): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    // Refused: what is left of a daemon that died.
    return false;
  } finally {
    socket.destroy();
  }
}

async function groupId(name: string): Promise<number | undefined> {
  const groups = await readFile('/etc/group', 'utf8').catch(() => '');
  const line = groups.split('\n').find((entry) => entry.startsWith(`${name}:`));
  const id = Number(line?.split(':')[2]);
  return Number.isInteger(id) && id > 0 ? id : undefined;
}
