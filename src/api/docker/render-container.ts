import { join } from 'node:path';
import type { Container, ContainerState, Health } from '../../engine/model.ts';
import { renderHardware } from '../isle/machines/render-machine.ts';
import { renderConfig } from './render-config.ts';
import { renderHostConfig } from './render-host-config.ts';
import { renderMountPoint } from './render-mounts.ts';
import { type NetworkLookup, renderNetworkSettings } from './render-network-settings.ts';

/** `GET /containers/{id}/json` */
export function renderContainer(
  container: Container,
  lookup: NetworkLookup,
  dataRoot: string,
  size: { rw: number; root: number } | undefined,
): object {
  const files = join(dataRoot, 'containers', container.id);
  const manifest = container.imageManifest;
  return {
    Id: container.id,
    Created: container.createdAt,
    Path: container.process.path,
    Args: container.process.args,
    State: renderState(container.state),
    Image: container.imageId,
    ResolvConfPath: join(files, 'resolv.conf'),
    HostnamePath: join(files, 'hostname'),
    HostsPath: join(files, 'hosts'),
    LogPath: container.spec.logConfig.driver === 'none' ? '' : join(files, 'container.log'),
    Name: `/${container.name}`,
    RestartCount: container.state.restartCount,
    Driver: container.spec.machine ? 'disks' : 'overlay2',
    Platform: 'linux',
    ...(manifest && lookup.version >= 48 && { ImageManifestDescriptor: manifest }),
    MountLabel: '',
    ProcessLabel: '',
    AppArmorProfile: '',
    ExecIDs: null,
    HostConfig: renderHostConfig(container),
    GraphDriver: container.spec.machine
      ? { Name: 'disks', Data: {} }
      : { Name: 'overlay2', Data: { ID: container.id } },
    ...(size && { SizeRw: size.rw, SizeRootFs: size.root }),
    Mounts: container.mounts.map(renderMountPoint),
    Config: renderConfig(container, lookup.version),
    NetworkSettings: renderNetworkSettings(container, lookup),
    ...(container.spec.machine && { Machine: renderHardware(container.spec.machine) }),
  };
}

export function renderState(state: ContainerState): object {
  const { phase } = state;
  return {
    Status: phase,
    // A paused or restarting container counts as running.
    Running: phase === 'running' || phase === 'paused' || phase === 'restarting',
    Paused: phase === 'paused',
    Restarting: phase === 'restarting',
    OOMKilled: state.oomKilled,
    Dead: phase === 'dead',
    Pid: state.pid,
    ExitCode: state.exitCode,
    Error: state.error,
    StartedAt: state.startedAt,
    FinishedAt: state.finishedAt,
    ...(state.health && { Health: renderHealthState(state.health) }),
  };
}

function renderHealthState(health: Health): object {
  return {
    Status: health.status,
    FailingStreak: health.failingStreak,
    Log: health.log.map((result) => ({
      Start: result.start,
      End: result.end,
      ExitCode: result.exitCode,
      Output: result.output,
    })),
  };
}
