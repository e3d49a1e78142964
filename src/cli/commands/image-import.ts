import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { Readable } from 'node:stream';
import type { Query, RequestOptions } from '../client/client.ts';
import { defineCommand } from '../command.ts';
import { Failure } from '../failure.ts';
import { list, text } from '../flags.ts';
import { followProgress } from '../image/progress-stream.ts';
import { openInput } from '../open-input.ts';
import { command as importTar } from './import.ts';

export const command = defineCommand({
  usage: '[OPTIONS] REMOTE:IMAGE|URL IMAGE|FILE|- [ROOTFS] [NAME]',
  about:
    "Makes an image of a whole distribution, as LXD and Incus have them: from a simplestreams server, or from files: a tar with metadata.yaml and rootfs/, metadata and root apart (tar or squashfs), or a root alone. With Docker's flags it is Docker's import.",
  examples: [
    { run: 'image import images:debian/12', does: 'the newest one of a configured server' },
    {
      run: 'image import https://images.example debian/12/cloud deb:cloud',
      does: 'from any server, with a name',
    },
    { run: 'image import lxd.tar.xz rootfs.squashfs deb', does: 'files that were downloaded' },
    { run: 'image import debian.tar.xz deb', does: 'one file with all of it' },
  ],
  flags: {
    change: list('Dockerfile instruction to apply', { short: 'c' }),
    message: text('Message', { short: 'm' }),
    platform: text('Platform'),
  },
  args: [1, 3],
  complete: ['file'],
  async run(context, call) {
    const { args, flags } = call;
    const [first = '', second] = args;
    const docker = flags.change.length > 0 || flags.message !== undefined;
    if (docker || isArchiveUrl(first)) return await importTar.run(context, call as never);
    const { query, body } = await requestFor(args);
    if (second === '') throw new Failure('the name must not be empty');
    let names: string[] = [];
    let id = '';
    await followProgress(
      context,
      '/isle/v1/images/import',
      { query: { ...query, platform: flags.platform }, body },
      {
        quiet: false,
        output: context.err,
        cancelled: 'import cancelled; what has been downloaded is kept for the next try',
        onLine({ aux }) {
          const found = aux as { ID?: string; Names?: string[] } | undefined;
          if (!found?.ID) return;
          id = found.ID;
          names = found.Names ?? [];
        },
      },
    );
    const wanted = typeof query.name === 'string' ? [query.name, `${query.name}:latest`] : [];
    const asked = names.find((name) => wanted.includes(name));
    context.out.line(asked ?? names[0] ?? id);
  },
});

/** A tar behind a URL is what Docker's import takes; anything else is a server. */
function isArchiveUrl(text: string): boolean {
  return /^https?:\/\/.*\.(tar|tgz|txz|tar\.\w+)$/.test(text);
}

async function requestFor(args: readonly string[]): Promise<{ query: Query; body?: RequestOptions['body'] }> {
  const [first = '', second, third] = args;
  if (/^https?:\/\//.test(first)) {
    if (second === undefined)
      throw new Failure(`${first} is a server: name the image, too`, {
        hint: `see what there is: isle image search ${first}`,
      });
    return { query: { server: first, image: second, name: third } };
  }
  const remote = /^([a-zA-Z0-9][\w.-]*):(.+)$/.exec(first);
  if (remote && !(await isFile(first))) {
    if (third !== undefined) throw new Failure('too many arguments: REMOTE:IMAGE [NAME]');
    return { query: { server: remote[1], image: remote[2], name: second } };
  }
  if (second !== undefined && (third !== undefined || (await isFile(second))))
    return await twoFiles(first, second, third);
  const body = first === '-' ? process.stdin : await openInput(first, createReadStream);
  return { query: { name: second }, body };
}

/** Bytes that the engine takes as metadata. */
const mostMetadata = 4 << 20;

async function twoFiles(metadata: string, rootfs: string, name: string | undefined) {
  if (!(await isFile(metadata))) throw new Failure(`open ${metadata}: no such file`);
  const { size } = await stat(metadata);
  if (size > mostMetadata)
    throw new Failure(`${metadata} is too large for metadata (${size} bytes): metadata first, then the root`);
  const head = await readFile(metadata);
  const root = await openInput(rootfs, createReadStream);
  async function* both(): AsyncGenerator<Buffer> {
    yield head;
    yield* root as AsyncIterable<Buffer>;
  }
  return { query: { metadata: head.length, name }, body: Readable.from(both(), { objectMode: false }) };
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}
