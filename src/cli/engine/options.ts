import { resolve } from 'node:path';
import { text } from '../flags.ts';

/** Which engine `up`, `down` and `doctor` mean; the daemon has the same flags. */
export const engineFlags = {
  'data-root': text('Where images, volumes and state lie ($ISLE_DATA_ROOT, /var/lib/isle)', {
    complete: 'file',
  }),
  'run-root': text('Where sockets and mount points lie ($ISLE_RUN_ROOT, /run/isle)', { complete: 'file' }),
  'docker-socket': text('The socket ($ISLE_SOCKET, docker.sock in the run root)', { complete: 'file' }),
  instance: text('Name of this engine among several ($ISLE_INSTANCE, isle)'),
} as const;

export interface EngineFlags {
  'data-root': string | undefined;
  'run-root': string | undefined;
  'docker-socket': string | undefined;
  instance: string | undefined;
}

export interface EnginePlace {
  dataRoot: string;
  runRoot: string;
  socket: string;
  instance: string;
  /** True when nothing was set: then the service manager's unit is meant. */
  isDefault: boolean;
  /** What to hand on to the daemon: only what was set, so that its configuration file decides the rest. */
  daemonFlags: string[];
}

export function enginePlace(flags: EngineFlags, env: NodeJS.ProcessEnv): EnginePlace {
  const asked = {
    'data-root': flags['data-root'] ?? (env.ISLE_DATA_ROOT || undefined),
    'run-root': flags['run-root'] ?? (env.ISLE_RUN_ROOT || undefined),
    'docker-socket': flags['docker-socket'] ?? (env.ISLE_SOCKET || undefined),
    instance: flags.instance ?? (env.ISLE_INSTANCE || undefined),
  };
  const dataRoot = resolve(asked['data-root'] ?? '/var/lib/isle');
  const runRoot = resolve(asked['run-root'] ?? '/run/isle');
  const given = Object.entries(asked).filter(([, value]) => value !== undefined);
  return {
    dataRoot,
    runRoot,
    socket: resolve(asked['docker-socket'] ?? `${runRoot}/docker.sock`),
    instance: asked.instance ?? 'isle',
    isDefault: given.length === 0,
    daemonFlags: given.flatMap(([name, value]) => [
      `--${name}`,
      name === 'instance' ? (value as string) : resolve(value as string),
    ]),
  };
}
