import type { HistoryEntry, Image, ImageConfig } from '../../images/images.ts';
import type { ApiVersion } from '../http/api-version.ts';
import { renderHealth } from './render-config.ts';

/** One entry of `GET /images/json`; −1 stands for "not counted". */
export function renderImageSummary(
  image: Image,
  counts: { shared: number; containers: number },
  version: ApiVersion,
): object {
  return {
    Id: image.id,
    ParentId: image.parentId,
    RepoTags: image.tags,
    RepoDigests: image.repoDigests,
    Created: seconds(image.createdAt),
    Size: image.size,
    // Dropped in 1.44; clients before it take it for the size.
    ...(version < 44 && { VirtualSize: image.size }),
    SharedSize: counts.shared,
    Labels: image.config.labels,
    Containers: counts.containers,
    ...(version >= 48 && image.manifest && { Descriptor: image.manifest }),
  };
}

/** `GET /images/{name}/json` */
export function renderImage(image: Image, version: ApiVersion): object {
  return {
    Id: image.id,
    ...(version >= 48 && image.manifest && { Descriptor: image.manifest }),
    RepoTags: image.tags,
    RepoDigests: image.repoDigests,
    Parent: image.parentId,
    Comment: image.comment,
    Created: image.createdAt,
    DockerVersion: '',
    Author: image.author,
    Architecture: image.architecture,
    ...(image.variant && { Variant: image.variant }),
    Os: image.os,
    ...(image.osVersion && { OsVersion: image.osVersion }),
    Size: image.size,
    // Dropped in 1.44.
    ...(version < 44 && { VirtualSize: image.size }),
    GraphDriver: { Name: 'overlay2', Data: {} },
    RootFS: { Type: 'layers', Layers: image.diffIds },
    Metadata: { LastTagTime: image.lastTagTime ?? '0001-01-01T00:00:00Z' },
    Config: renderImageConfig(image.config, version),
  };
}

function renderImageConfig(config: ImageConfig, version: ApiVersion): object {
  return {
    ...(version < 50 && containerOnly),
    User: config.user,
    ...(config.exposedPorts.length > 0 && { ExposedPorts: keysOf(config.exposedPorts) }),
    Env: config.env,
    ...(config.command && { Cmd: config.command }),
    ...(config.healthcheck && { Healthcheck: renderHealth(config.healthcheck) }),
    ...(config.argsEscaped && { ArgsEscaped: true }),
    ...(config.volumes.length > 0 && { Volumes: keysOf(config.volumes) }),
    WorkingDir: config.workingDir,
    ...(config.entrypoint && { Entrypoint: config.entrypoint }),
    OnBuild: config.onBuild ?? null,
    Labels: config.labels,
    ...(config.stopSignal && { StopSignal: config.stopSignal }),
    ...(config.shell && { Shell: config.shell }),
  };
}

/** Before 1.50 an image's configuration had the fields of a container's, all empty. */
const containerOnly = {
  Hostname: '',
  Domainname: '',
  AttachStdin: false,
  AttachStdout: false,
  AttachStderr: false,
  Tty: false,
  OpenStdin: false,
  StdinOnce: false,
  Image: '',
};

function keysOf(names: string[]): Record<string, object> {
  return Object.fromEntries(names.map((name) => [name, {}]));
}

export function renderHistory(entry: HistoryEntry): object {
  return {
    Id: entry.id,
    Created: seconds(entry.createdAt),
    CreatedBy: entry.createdBy,
    Tags: entry.tags,
    Size: entry.size,
    Comment: entry.comment,
  };
}

function seconds(time: string): number {
  return Math.floor(Date.parse(time) / 1000) || 0;
}
