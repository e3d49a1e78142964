import { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { BlockCopy, MachineBlocks, MachineHardware } from '../../engine/machine.ts';
import { type ConfinedFile, type ConfinedTool, startConfined } from '../../host/confined.ts';
import { openQmp } from '../../host/qmp/connect.ts';
import type { Qmp } from '../../host/qmp/qmp.ts';
import { errnoOf, isleError } from '../../lib/errors.ts';
import { blockDisks, copyBlocks, removeBitmaps } from './control/block-copy.ts';

const tool = 'qemu-storage-daemon';

/** Milliseconds for it to write its bitmaps and end. */
const patience = 60_000;

/** Seconds of CPU for the copy of a machine's disks: a bound on one that runs wild, not on a large disk. */
const longest = 24 * 3600;

/**
 * The disks of a machine that does not run: a storage daemon opens them for each thing that is done, confined to just those
 * files, and closes them again. Whoever calls sees to it that nobody starts the machine meanwhile.
 */
export function idleBlocks(hardware: MachineHardware): MachineBlocks {
  return {
    disks: () => withDaemon(hardware, [], (qmp) => blockDisks(qmp)),
    copy: (options) => copyIdle(hardware, options),
    removeBitmaps: (names) => withDaemon(hardware, [], (qmp) => removeBitmaps(qmp, names)),
    // It ended with the daemon that had started it.
    abandon: async () => undefined,
    [Symbol.asyncDispose]: async () => undefined,
  };
}

async function copyIdle(hardware: MachineHardware, options: BlockCopy): Promise<{ heldMs: number }> {
  const files = options.disks.map(({ target, file }) => ({
    path: file,
    inside: `/copy/${target}`,
    write: true,
  }));
  const places = new Map(files.map(({ path, inside }) => [path, inside]));
  return await withDaemon(hardware, files, (qmp) =>
    copyBlocks(
      {
        qmp,
        open: async (file) => places.get(file) ?? file,
        close: async () => undefined,
        // Nobody has them mounted.
        freeze: async () => ({ [Symbol.asyncDispose]: async () => undefined }),
      },
      options,
    ),
  );
}

/** Its end is waited for: only then are the bitmaps in the files. */
async function withDaemon<T>(
  hardware: MachineHardware,
  more: ConfinedFile[],
  use: (qmp: Qmp) => Promise<T>,
): Promise<T> {
  await using nvram = await openNvram(hardware);
  const { args, files } = describe(hardware, nvram?.path);
  const daemon = await startConfined(
    tool,
    ['--chardev', 'stdio,id=qmp', ...args, '--monitor', 'chardev=qmp'],
    {
      files: [...files, ...more],
      fileSize: Number.MAX_SAFE_INTEGER,
      cpu: longest,
    },
  );
  let qmp: Qmp | undefined;
  try {
    qmp = await connected(daemon);
    const result = await use(qmp);
    await end(daemon, qmp);
    return result;
  } finally {
    if (qmp) await end(daemon, qmp).catch(() => undefined);
    daemon.kill();
    await daemon.ended.catch(() => undefined);
  }
}

async function connected(daemon: ConfinedTool): Promise<Qmp> {
  daemon.stdin.on('error', () => undefined);
  try {
    return await openQmp(conversation(daemon));
  } catch (error) {
    daemon.kill();
    const { stderr } = await daemon.ended;
    throw explain(stderr, error);
  }
}

/** Its two pipes as one stream. */
function conversation({ stdin, stdout }: ConfinedTool): Duplex {
  const both = new Duplex({
    read: () => void stdout.resume(),
    write: (chunk: Buffer, _, done) => void stdin.write(chunk, done),
    destroy(error, done) {
      stdin.destroy();
      stdout.destroy();
      done(error);
    },
  });
  stdout.on('data', (chunk: Buffer) => {
    if (!both.push(chunk)) stdout.pause();
  });
  stdout.once('close', () => both.destroy());
  return both;
}

function explain(stderr: string, cause: unknown): Error {
  const words = stderr
    .replaceAll(/\p{C}+/gu, ' ')
    .trim()
    .slice(-400);
  if (/Failed to get .* lock/.test(words))
    return isleError('conflict', { message: 'a disk of the machine is in use by another one' }, cause);
  return isleError('hostTool', { tool, message: words || String(cause) }, cause);
}

async function end(daemon: ConfinedTool, qmp: Qmp): Promise<void> {
  const late = new AbortController();
  try {
    await qmp.execute('quit', undefined, { patience }).catch(() => undefined);
    await Promise.race([daemon.ended, sleep(patience, undefined, { signal: late.signal })]);
  } finally {
    late.abort();
    qmp.close();
  }
}

/** The machine's own QEMU can write to that directory: a link there must lead nowhere. */
async function openNvram({ spec, directory }: MachineHardware) {
  if (spec.firmware === 'bios') return undefined;
  const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
  try {
    const file = await open(join(directory, 'nvram.qcow2'), flags);
    return { path: `/proc/${process.pid}/fd/${file.fd}`, [Symbol.asyncDispose]: () => file.close() };
  } catch (error) {
    // One that never ran has none.
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** The nodes are called as in a machine that runs. */
function describe(
  { spec, disks }: MachineHardware,
  nvram: string | undefined,
): { args: string[]; files: ConfinedFile[] } {
  const files: ConfinedFile[] = [];
  const nodes: object[] = [];
  const show = (path: string, inside: string, write: boolean): object => {
    files.push({ path, inside, write });
    return { driver: 'file', filename: inside, 'read-only': !write };
  };
  for (const [index, { target, format, readOnly }] of spec.disks.entries()) {
    const { path, chain } = disks[index]!;
    const backing = chain.reduceRight<object | null>(
      (below, one, depth) => ({
        driver: 'qcow2',
        'read-only': true,
        file: show(one, `/disk/${target}.${depth + 1}`, false),
        backing: below,
      }),
      null,
    );
    nodes.push({
      driver: format,
      'node-name': `disk-${target}`,
      'read-only': readOnly,
      file: show(path, `/disk/${target}`, !readOnly),
      ...(format === 'qcow2' && { backing }),
    });
  }
  if (nvram !== undefined)
    nodes.push({
      driver: 'qcow2',
      'node-name': 'nvram',
      file: show(nvram, '/disk/nvram', true),
      backing: null,
    });
  return { args: nodes.flatMap((node) => ['--blockdev', JSON.stringify(node)]), files };
}
