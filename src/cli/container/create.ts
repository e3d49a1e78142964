import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { errnoOf, messageOf } from '../../lib/errors.ts';
import { ApiError } from '../client/errors.ts';
import type { Context } from '../context.ts';
import { Failure } from '../failure.ts';
import type { CreateBody } from './config.ts';
import type { ContainerFlags } from './flags.ts';

interface Created {
  Id: string;
  Warnings?: string[] | null;
}

/** Creates the container, fetching its image first where it is missing (or always, or never: `--pull`). */
export async function createContainer(
  context: Context,
  flags: ContainerFlags,
  body: CreateBody,
): Promise<string> {
  // Made first: an id that could not be written down would be a container that nobody knows of.
  const cidfile = flags.cidfile ? openIdFile(flags.cidfile) : undefined;
  try {
    const id = await createWithImage(context, flags, body);
    cidfile?.write(id);
    return id;
  } catch (error) {
    cidfile?.discard();
    throw error;
  }
}

async function createWithImage(context: Context, flags: ContainerFlags, body: CreateBody): Promise<string> {
  const { client, err } = context;
  const create = () =>
    client.post<Created>('/containers/create', {
      query: { name: flags.name, platform: flags.platform },
      body,
    });
  if (flags.pull === 'always') await pull(context, flags, body.Image);
  let created: Created;
  try {
    created = await create();
  } catch (error) {
    if (!isMissingImage(error) || (flags.pull ?? 'missing') !== 'missing') throw error;
    if (!flags.quiet) err.line(`isle: ${body.Image} is not here yet, fetching it`);
    await pull(context, flags, body.Image);
    created = await create();
  }
  for (const warning of created.Warnings ?? []) err.line(`isle: ${err.paint.yellow('warning')}: ${warning}`);
  return created.Id;
}

function openIdFile(path: string): { write(id: string): void; discard(): void } {
  let fd: number;
  try {
    fd = openSync(path, 'wx', 0o644);
  } catch (cause) {
    if (errnoOf(cause) !== 'EEXIST')
      throw new Failure(`cannot write ${path}: ${messageOf(cause)}`, { exitCode: 125, cause });
    throw new Failure(`container ID file found: ${path}`, {
      exitCode: 125,
      hint: 'another container may be using it; remove the file or name another one',
      cause,
    });
  }
  return {
    write(id) {
      writeSync(fd, id);
      closeSync(fd);
    },
    discard() {
      closeSync(fd);
      rmSync(path, { force: true });
    },
  };
}

function isMissingImage(error: unknown): boolean {
  return error instanceof ApiError && error.status === 404 && /no such image/i.test(error.message);
}

async function pull(context: Context, flags: ContainerFlags, image: string): Promise<void> {
  const { pullImage } = await import('../image/pull.ts');
  await pullImage(context, image, {
    platform: flags.platform,
    quiet: flags.quiet,
    // What the container writes may be piped on: progress is not part of it.
    output: context.err,
  });
}
