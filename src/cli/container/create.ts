import { existsSync, writeFileSync } from 'node:fs';
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
  const { client, err } = context;
  if (flags.cidfile && existsSync(flags.cidfile))
    throw new Failure(`container ID file found: ${flags.cidfile}`, {
      exitCode: 125,
      hint: 'another container may be using it; remove the file or name another one',
    });
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
  if (flags.cidfile) writeFileSync(flags.cidfile, created.Id);
  return created.Id;
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
