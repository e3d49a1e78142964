import type { Container, ContainerState } from '../../engine/model.ts';
import { isolationOf } from '../../engine/isolation.ts';
import { renderMountPoint } from './render-mounts.ts';
import { type NetworkLookup, renderEndpoints } from './render-network-settings.ts';
import { renderPortList } from './render-ports.ts';

/** One entry of `GET /containers/json`. */
export function renderContainerSummary(
  container: Container,
  lookup: NetworkLookup,
  size: { rw: number; root: number } | undefined,
): object {
  const { state, spec } = container;
  return {
    Id: container.id,
    Names: [`/${container.name}`],
    Image: imageTextOf(container),
    ImageID: container.imageId,
    ...(container.imageManifest &&
      lookup.version >= 48 && { ImageManifestDescriptor: container.imageManifest }),
    Command: commandTextOf(container),
    Created: Math.floor(Date.parse(container.createdAt) / 1000),
    Ports: renderPortList(container.exposedPorts, lookup.attachment(container.id)?.ports ?? []),
    ...(size && { SizeRw: size.rw, SizeRootFs: size.root }),
    Labels: container.labels,
    State: state.phase,
    Status: statusText(state, Date.now()),
    HostConfig: {
      NetworkMode: spec.networkMode,
      // Where the specification has room for what Docker's list does not know.
      Annotations: {
        ...spec.annotations,
        'isle.runtime': container.runtimeName,
        'isle.isolation': isolationOf(container),
        ...(state.error !== '' && { 'isle.error': state.error }),
      },
    },
    NetworkSettings: { Networks: renderEndpoints(container, lookup) },
    Mounts: container.mounts.map(renderMountPoint),
  };
}

/** A virtual machine has none: what is on its disks, as far as that was said. */
export function imageTextOf({ spec }: Pick<Container, 'spec'>): string {
  return spec.machine ? (spec.machine.osVariant ?? '-') : spec.image;
}

/** What a virtual machine has instead of a command is its hardware. */
function commandTextOf({ process, spec }: Container): string {
  if (!spec.machine) return [process.path, ...process.args].join(' ');
  const { type, vcpus, memory } = spec.machine;
  return `${type}, ${vcpus} CPU${vcpus === 1 ? '' : 's'}, ${Math.round(memory / 1024 ** 2)} MiB`;
}

/** `Up 5 minutes (healthy)`, `Exited (0) 3 days ago`: clients show it as it is. */
export function statusText(state: ContainerState, now: number): string {
  const { phase, exitCode } = state;
  switch (phase) {
    case 'created':
      return 'Created';
    case 'removing':
      return 'Removal In Progress';
    case 'dead':
      return 'Dead';
    case 'restarting':
      return `Restarting (${exitCode}) ${ago(state.finishedAt, now)} ago`;
    case 'exited':
      return `Exited (${exitCode}) ${ago(state.finishedAt, now)} ago`;
    case 'paused':
      return `Up ${ago(state.startedAt, now)} (Paused)`;
    default:
      return `Up ${ago(state.startedAt, now)}${healthText(state)}`;
  }
}

function healthText({ health }: ContainerState): string {
  if (!health) return '';
  return health.status === 'starting' ? ' (health: starting)' : ` (${health.status})`;
}

function ago(time: string, now: number): string {
  return humanDuration(Math.max(0, now - Date.parse(time)));
}

/** Milliseconds in the words of Docker's `units.HumanDuration`. */
export function humanDuration(milliseconds: number): string {
  const seconds = Math.floor(milliseconds / 1000);
  if (seconds < 1) return 'Less than a second';
  if (seconds === 1) return '1 second';
  if (seconds < 60) return `${seconds} seconds`;
  const minutes = Math.floor(seconds / 60);
  if (minutes === 1) return 'About a minute';
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.floor(minutes / 60 + 0.5);
  if (hours === 1) return 'About an hour';
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.floor(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.floor(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.floor(hours / 24 / 30)} months`;
  return `${Math.floor(hours / 24 / 365)} years`;
}
