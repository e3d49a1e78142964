import { Readable } from 'node:stream';
import type { PathStat } from '../../../engine/engine.ts';
import type { MachineFiles } from '../../../engine/machine.ts';
import { isleError, isIsleError } from '../../../lib/errors.ts';
import { withAgent, type Agent, type AgentMachine } from './agent.ts';
import { numberIn, runInGuest } from './process.ts';

/** Bytes of one piece, and pieces until others may have the agent. */
const [piece, turn] = [256 * 1024, 16];

/**
 * Files of a guest through its agent, by the guest's own shell and tar. What is copied lies in the guest's temporary directory
 * on the way. Throws `noSuchPath`, `guestFailed` with the guest's words, `guestAgentMissing`.
 */
export function guestFiles(machine: AgentMachine): MachineFiles {
  return {
    stat: (path) => statIn(machine, path),
    async read(path) {
      const stat = await statIn(machine, path);
      const [directory, name] = split(path);
      const file = await shell(machine, pack, [directory, name]);
      return { stat, tar: Readable.from(content(machine, file), { objectMode: false }) };
    },
    async write(directory, tar, { copyUidGid }) {
      const { mode } = await statIn(machine, directory);
      if (mode < MODE_DIRECTORY)
        throw isleError('invalidParameter', {
          message: `${directory} in the virtual machine is not a directory`,
        });
      const file = await shell(machine, temporary, []);
      try {
        await upload(machine, file, tar);
        await shell(machine, unpack, [file, directory, copyUidGid ? 'p' : 'o']);
      } finally {
        await remove(machine, file);
      }
    },
  };
}

/** On disk rather than in memory. */
const temporary =
  'umask 077; for d in /var/tmp /tmp; do mktemp "$d/isle-XXXXXX" 2>/dev/null && exit; done; exit 1';
const pack = `f=$(${temporary}) || exit 1
tar -cf "$f" -C "$1" -- "$2" >&2 || { rm -f "$f"; exit 1; }
echo "$f"`;
const unpack = 'exec tar -x$3f "$1" -C "$2" >&2';

async function shell(machine: AgentMachine, script: string, args: string[]): Promise<string> {
  const { code, stdout, stderr } = await runInGuest(machine, ['/bin/sh', '-c', script, 'isle', ...args]);
  if (code === 0) return stdout.toString().trim();
  const detail = stderr.toString().trim().slice(-500) || `the guest's shell ended with ${code}`;
  throw isleError('guestFailed', { what: 'copy files', detail });
}

async function* content(machine: AgentMachine, file: string): AsyncGenerator<Buffer> {
  try {
    const handle = await withAgent(machine, (agent) => open(agent, file, 'r'));
    for (let done = false; !done; ) {
      const pieces: Buffer[] = [];
      done = await withAgent(machine, async (agent) => {
        for (let count = 0; count < turn; count++) {
          const { data, end } = await readPiece(agent, handle);
          if (data.length > 0) pieces.push(data);
          if (end) {
            await agent.execute('guest-file-close', { handle });
            return true;
          }
        }
        return false;
      });
      yield* pieces;
    }
  } finally {
    await remove(machine, file);
  }
}

async function readPiece(agent: Agent, handle: number): Promise<{ data: Buffer; end: boolean }> {
  const answer = await agent.execute('guest-file-read', { handle, count: piece });
  const { 'buf-b64': text, eof } = (answer ?? {}) as Record<string, unknown>;
  const data = Buffer.from(typeof text === 'string' ? text : '', 'base64');
  // One that sends nothing for ever would keep us asking.
  return { data, end: eof === true || data.length === 0 };
}

async function upload(machine: AgentMachine, file: string, tar: Readable): Promise<void> {
  const handle = await withAgent(machine, (agent) => open(agent, file, 'w'));
  try {
    for await (const chunk of tar)
      for (let at = 0; at < (chunk as Buffer).length; at += piece) {
        const data = (chunk as Buffer).subarray(at, at + piece);
        await withAgent(machine, (agent) => writeAll(agent, handle, data));
      }
  } finally {
    await withAgent(machine, (agent) => agent.execute('guest-file-close', { handle }));
  }
}

async function writeAll(agent: Agent, handle: number, data: Buffer): Promise<void> {
  for (let at = 0; at < data.length; ) {
    const buffer = { 'buf-b64': data.subarray(at).toString('base64') };
    const count = numberIn(await agent.execute('guest-file-write', { handle, ...buffer }), 'count');
    if (count === 0 || count > data.length - at)
      throw isleError('guestFailed', { what: 'copy files', detail: 'its disk takes no more' });
    at += count;
  }
}

async function open(agent: Agent, path: string, mode: 'r' | 'w'): Promise<number> {
  const handle = await agent.execute('guest-file-open', { path, mode });
  return numberIn({ handle }, 'handle');
}

/** One that stays is the guest's own to tidy. */
async function remove(machine: AgentMachine, file: string): Promise<void> {
  await runInGuest(machine, ['rm', '-f', '--', file]).catch((error: unknown) => {
    if (!isIsleError(error)) throw error;
  });
}

function split(path: string): [directory: string, name: string] {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.');
  if (parts.length === 0) return ['/', '.'];
  const name = parts.at(-1)!;
  if (name === '..') return [`/${parts.join('/')}`, '.'];
  return [`/${parts.slice(0, -1).join('/')}`, name];
}

/** Type and permissions in hexadecimal, size, time, and where a link leads. */
const look = 'stat -c "%f %s %Y" -- "$1" && { [ ! -L "$1" ] || readlink -- "$1"; }';

async function statIn(machine: AgentMachine, path: string): Promise<PathStat> {
  const [directory, name] = split(path);
  const full = name === '.' ? directory : `${directory === '/' ? '' : directory}/${name}`;
  const { code, stdout, stderr } = await runInGuest(machine, ['/bin/sh', '-c', look, 'isle', full]);
  const [line = '', ...link] = stdout.toString().split('\n');
  const [, mode, size, time] = /^([0-9a-f]{1,8}) (\d{1,15}) (-?\d{1,12})$/.exec(line) ?? [];
  if (code !== 0 && /No such file|Not a directory/.test(stderr.toString()))
    throw isleError('noSuchPath', { path, container: machine.id });
  if (code !== 0 || mode === undefined)
    throw isleError('guestFailed', { what: 'look at a file', detail: stderr.toString().trim().slice(-500) });
  return {
    name: name === '.' ? '/' : name,
    size: Number(size),
    mode: goMode(Number.parseInt(mode, 16)),
    mtime: new Date(Number(time) * 1000).toISOString(),
    // A path, and no more: it goes into a header.
    linkTarget: link.join('\n').replace(/\n$/, '').slice(0, 4096),
  };
}

const MODE_DIRECTORY = 2 ** 31;

/** Bits of Go's os.FileMode, as Docker's header has them. */
function goMode(mode: number): number {
  const types: Record<number, number> = {
    0x4000: MODE_DIRECTORY,
    0xa000: 2 ** 27,
    0x6000: 2 ** 26,
    0x2000: 2 ** 26 + 2 ** 21,
    0x1000: 2 ** 25,
    0xc000: 2 ** 24,
  };
  const special = (mode & 0x800 ? 2 ** 23 : 0) + (mode & 0x400 ? 2 ** 22 : 0) + (mode & 0x200 ? 2 ** 20 : 0);
  return (types[mode & 0xf000] ?? 0) + special + (mode & 0x1ff);
}
