import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { WorkloadMount } from '../../engine/runtime.ts';
import { readRootFile } from '../oci/root-files.ts';
import type { InitKind } from './init.ts';

const path = '/etc/inittab';

/**
 * A container has one terminal, its console, and no power supply: an init that reads /etc/inittab is shown one without
 * the terminals that are not there, with a login on the console, and with an order to shut down when Isle says that
 * power fails (SIGPWR). Undefined when the image has none.
 */
export async function inittabOf(
  rootfs: string,
  kind: InitKind,
  stateDir: string,
): Promise<WorkloadMount | undefined> {
  if (kind !== 'sysvinit' && kind !== 'busybox') return undefined;
  const text = await readRootFile(rootfs, path);
  if (text === undefined) return undefined;
  const source = join(stateDir, 'inittab');
  await writeFile(source, rewriteInittab(text, kind), { mode: 0o644 });
  return { type: 'bind', source, target: path, readOnly: false, propagation: 'rprivate' };
}

export function rewriteInittab(text: string, kind: 'sysvinit' | 'busybox'): string {
  const kept = text.split('\n').filter((line) => !onMissingTerminal(line, kind) && !onPower(line));
  const console = kept.some((line) => !line.startsWith('#') && /\bconsole\b/.test(line));
  const added =
    kind === 'sysvinit'
      ? [
          ...(console ? [] : ['co:2345:respawn:/sbin/getty 38400 console']),
          'pz:012345:powerwait:/sbin/shutdown -h now',
        ]
      : console
        ? []
        : ['console::respawn:/sbin/getty 38400 console'];
  return `${[...kept.join('\n').trimEnd().split('\n'), ...added].join('\n')}\n`;
}

const terminal = /\b(tty\d+|tty[A-Z]+\d+|hvc\d+)\b/;

function onMissingTerminal(line: string, kind: 'sysvinit' | 'busybox'): boolean {
  if (line.startsWith('#')) return false;
  const [first = '', , action = '', ...command] = line.split(':');
  if (kind === 'busybox' && terminal.test(first)) return true;
  return ['respawn', 'askfirst'].includes(action) && terminal.test(command.join(':'));
}

function onPower(line: string): boolean {
  return (
    !line.startsWith('#') &&
    ['powerwait', 'powerfail', 'powerfailnow', 'powerokwait'].includes(line.split(':')[2] ?? '')
  );
}
