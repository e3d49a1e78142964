import { resolve } from 'node:path';
import type { Context } from '../context.ts';
import { followWork } from './follow-work.ts';

/** Brings in what another hypervisor exported. */
export function importAppliance(
  context: Context,
  file: string,
  options: { name: string | undefined; hint?: string | undefined; virtio?: boolean; quiet?: boolean },
): Promise<{ Id: string; Warnings: string[] }> {
  return followWork(
    context,
    'POST',
    '/isle/v1/machines/import',
    { body: { Path: resolve(file), Name: options.name, Hint: options.hint, Virtio: options.virtio } },
    { quiet: options.quiet ?? false, cancelled: 'import cancelled; nothing is left of it' },
  );
}
