import type { HealthCheck } from '../../engine/model.ts';
import type { ImageConfig } from '../images.ts';

/** The `config` object of an image configuration as Docker writes it; what is not set is left out. */
export function writeConfig(config: ImageConfig): Record<string, unknown> {
  const all: Record<string, unknown> = {
    User: config.user || undefined,
    ExposedPorts: set(config.exposedPorts),
    Env: config.env.length > 0 ? config.env : undefined,
    Entrypoint: config.entrypoint,
    Cmd: config.command,
    ArgsEscaped: config.argsEscaped,
    Volumes: set(config.volumes),
    WorkingDir: config.workingDir || undefined,
    OnBuild: config.onBuild,
    Labels: Object.keys(config.labels).length > 0 ? config.labels : undefined,
    StopSignal: config.stopSignal,
    Shell: config.shell,
    Healthcheck: config.healthcheck && writeHealthCheck(config.healthcheck),
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

function writeHealthCheck(check: HealthCheck): Record<string, unknown> {
  const all = {
    Test: check.test,
    Interval: check.interval,
    Timeout: check.timeout,
    StartPeriod: check.startPeriod,
    StartInterval: check.startInterval,
    Retries: check.retries,
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

/** Go's `map[string]struct{}`. */
function set(keys: string[]): Record<string, object> | undefined {
  return keys.length > 0 ? Object.fromEntries(keys.map((key) => [key, {}])) : undefined;
}
