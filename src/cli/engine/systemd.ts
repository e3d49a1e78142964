import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../lib/errors.ts';
import { Failure } from '../failure.ts';
import { isleRoot } from '../root.ts';

export const unitPath = '/etc/systemd/system/isle.service';

/** True where systemd is process 1 (sd_booted(3)). */
export function hasSystemd(): boolean {
  return existsSync('/run/systemd/system');
}

/** Puts the unit in place (with this installation's path in it), unless an administrator's own is there. */
export async function installUnit(): Promise<void> {
  const template = await readFile(join(isleRoot(), 'packaging/isle.service'), 'utf8');
  const text = template.replaceAll('@ROOT@', isleRoot());
  const old = await readFile(unitPath, 'utf8').catch(() => undefined);
  if (old === text) return;
  if (old !== undefined && !old.includes('installed by isle up')) return;
  await writeFile(unitPath, text);
  await systemctl('daemon-reload');
}

export async function unitIsActive(): Promise<boolean> {
  try {
    await systemctl('is-active', '--quiet', 'isle.service');
    return true;
  } catch {
    return false;
  }
}

/** Runs systemctl; its complaint becomes the failure. */
export function systemctl(...args: string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('systemctl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let complaint = '';
    child.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()));
    child.on('error', (cause) => reject(new Failure(`systemctl: ${messageOf(cause)}`, { cause })));
    child.on('close', (code) => {
      if (code === 0) resolve();
      else reject(new Failure(complaint.trim() || `systemctl ${args.join(' ')} failed with ${code}`));
    });
  });
}
