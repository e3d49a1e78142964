import type { Container, HealthCheck } from '../../engine/model.ts';
import type { ApiVersion } from '../http/api-version.ts';
import { imageTextOf } from './render-container-summary.ts';
import { portName } from './render-ports.ts';
import { renderVolumes } from './render-mounts.ts';

/** `Config` of inspect: what was asked for and the image's say, merged. */
export function renderConfig(container: Container, version: ApiVersion): object {
  const { spec } = container;
  const exposed = container.exposedPorts;
  return {
    Hostname: container.hostname,
    Domainname: spec.domainname,
    User: spec.user,
    AttachStdin: spec.attachStdin,
    AttachStdout: spec.attachStdout,
    AttachStderr: spec.attachStderr,
    ...(exposed.length > 0 && {
      ExposedPorts: Object.fromEntries(exposed.map((port) => [portName(port), {}])),
    }),
    Tty: spec.tty,
    OpenStdin: spec.openStdin,
    StdinOnce: spec.stdinOnce,
    Env: spec.env,
    ...(spec.command && { Cmd: spec.command }),
    ...renderHealthcheck(spec.healthcheck ?? container.healthcheck),
    Image: imageTextOf(container),
    Volumes: renderVolumes(container),
    WorkingDir: spec.workingDir,
    // Left out when there is none: an empty list would mean "reset" to whoever sends it back.
    ...(spec.entrypoint && { Entrypoint: spec.entrypoint }),
    ...(spec.networkDisabled && { NetworkDisabled: true }),
    // Since 1.44 it belongs to each network.
    ...(version < 44 && spec.macAddress && { MacAddress: spec.macAddress }),
    OnBuild: null,
    Labels: container.labels,
    ...(!['SIGTERM', ''].includes(spec.stopSignal ?? container.stopSignal) && {
      StopSignal: spec.stopSignal ?? container.stopSignal,
    }),
    ...(spec.stopTimeout !== undefined && { StopTimeout: spec.stopTimeout }),
  };
}

function renderHealthcheck(check: HealthCheck | undefined): object {
  if (!check) return {};
  return { Healthcheck: renderHealth(check) };
}

export function renderHealth(check: HealthCheck): object {
  return {
    Test: check.test,
    ...(check.interval && { Interval: check.interval }),
    ...(check.timeout && { Timeout: check.timeout }),
    ...(check.startPeriod && { StartPeriod: check.startPeriod }),
    ...(check.startInterval && { StartInterval: check.startInterval }),
    ...(check.retries && { Retries: check.retries }),
  };
}
