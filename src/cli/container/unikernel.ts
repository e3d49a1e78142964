import { resolve } from 'node:path';
import type { Context } from '../context.ts';
import { Failure } from '../failure.ts';
import { toCreateBody } from './config.ts';
import type { ContainerFlags } from './flags.ts';

/** MiB of a unikernel when nobody says: most need a few. */
const usualMemory = 64;

/** Whether `--kernel` is used as it can be. Throws for one half without the other. */
export function isUnikernel(flags: ContainerFlags & { kernel?: string | undefined }): boolean {
  if (flags.runtime === 'unikernel' && flags.kernel === undefined)
    throw new Failure('a unikernel boots from a file, not from an image', {
      exitCode: 125,
      hint: 'isle run --runtime unikernel --kernel FILE [ARGUMENT...]',
    });
  if (flags.kernel !== undefined && flags.runtime !== 'unikernel')
    throw new Failure('--kernel is for unikernels', {
      exitCode: 125,
      hint: `add --runtime unikernel; a kernel for a whole machine: isle vm create --boot kernel=${flags.kernel}`,
    });
  return flags.kernel !== undefined;
}

/** Makes the unikernel of `kernel`; the words are its arguments. Returns its id. */
export async function createUnikernel(
  context: Context,
  flags: ContainerFlags & { kernel?: string | undefined; accel?: string | undefined },
  words: readonly string[],
): Promise<string> {
  const { Image: _, HostConfig, ...container } = toCreateBody(flags, '', []);
  const { Memory, ...hostConfig } = HostConfig;
  const cpus = Number(hostConfig.NanoCpus ?? 1e9) / 1e9;
  const created = await context.client.post<{ Id: string; Warnings: string[] }>('/isle/v1/machines', {
    body: {
      Name: flags.name,
      Container: { ...container, HostConfig: { ...hostConfig, Runtime: 'unikernel' } },
      Hardware: {
        Memory: Memory ?? usualMemory * 1024 * 1024,
        Vcpus: Math.max(1, Math.ceil(cpus)),
        Accelerator: flags.accel,
        Kernel: { Path: resolve(flags.kernel ?? ''), Arguments: words.join(' ') },
      },
      Disks: [],
    },
  });
  const { err } = context;
  for (const warning of created.Warnings) err.line(`isle: ${err.paint.yellow('warning')}: ${warning}`);
  return created.Id;
}
