import { Failure } from '../failure.ts';
import type { ContainerFlags } from './flags.ts';

export interface HealthBody {
  Test?: string[];
  Interval?: number;
  Timeout?: number;
  StartPeriod?: number;
  StartInterval?: number;
  Retries?: number;
}

/** The `--health-*` flags; undefined leaves the image's check alone. */
export function parseHealth(flags: ContainerFlags): HealthBody | undefined {
  const durations = {
    Interval: positive(flags, 'health-interval'),
    Timeout: positive(flags, 'health-timeout'),
    StartPeriod: positive(flags, 'health-start-period'),
    StartInterval: positive(flags, 'health-start-interval'),
  };
  const retries = flags['health-retries'];
  if (retries !== undefined && retries < 0) throw new Failure('--health-retries cannot be negative');
  const command = flags['health-cmd'];
  const health: HealthBody = {
    ...(command ? { Test: ['CMD-SHELL', command] } : {}),
    ...Object.fromEntries(
      Object.entries(durations).filter(([, value]) => value !== undefined && value !== 0),
    ),
    ...(retries ? { Retries: retries } : {}),
  };
  const asked = Object.keys(health).length > 0;
  if (!flags['no-healthcheck']) return asked ? health : undefined;
  if (asked) throw new Failure('--no-healthcheck conflicts with --health-* options');
  return { Test: ['NONE'] };
}

function positive(
  flags: ContainerFlags,
  name: 'health-interval' | 'health-timeout' | 'health-start-period' | 'health-start-interval',
): number | undefined {
  const value = flags[name];
  if (value !== undefined && value < 0) throw new Failure(`--${name} cannot be negative`);
  return value;
}
