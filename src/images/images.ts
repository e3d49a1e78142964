import type { Readable } from 'node:stream';
import type { HealthCheck } from '../engine/model.ts';

/**
 * The face of `images/`: what the engine may ask about images. Layers land in Snapshots, blobs in the content
 * store; both are private to the implementation.
 */
export interface Images {
  /**
   * By name (Docker Hub defaults apply), `name@digest`, id (`sha256:…`) or unambiguous id prefix.
   * Throws `noSuchImage`, `ambiguousId`, `invalidReference`.
   */
  get(nameOrId: string): Image;
  list(): Image[];

  /**
   * Fetches and unpacks. Progress lines are Docker's (`docs: Pull progress`). Aborting leaves verified blobs for
   * the next try and nothing half-visible. Throws `noSuchImage`-like errors with the registry's own words.
   */
  pull(ref: string, options: PullOptions): Promise<Image>;
  push(ref: string, options: PushOptions): Promise<void>;

  tag(nameOrId: string, newName: string): void;

  /**
   * Removes a name, or all of it when asked by id. `inUse` names a container (a running one before others) that
   * was made from an image. Returns what happened in order. Throws `conflict` in Docker's words.
   */
  remove(
    nameOrId: string,
    options: { force: boolean; prune: boolean; inUse(imageId: string): ImageUser | undefined },
  ): Promise<RemovedImage[]>;

  /** Removes dangling (or with `all` every unused) image; `keep` says which are in use. */
  prune(options: {
    all: boolean;
    filters: Record<string, string[]>;
    keep(imageId: string): boolean;
  }): Promise<{ removed: RemovedImage[]; reclaimed: number }>;

  history(nameOrId: string): HistoryEntry[];

  /** A docker-archive that is also an OCI layout (as Docker ≥ 25 writes). */
  save(names: string[], signal?: AbortSignal): Promise<Readable>;
  /** docker-archive or OCI layout, gzip, zstd or plain; detected by content. */
  load(
    archive: Readable,
    onProgress: (line: Progress) => void,
    signal?: AbortSignal,
  ): Promise<{ id: string; names: string[] }[]>;
  /** A root file system tar as a one-layer image. `changes` are Dockerfile instructions (CMD, ENV, …). */
  import(
    archive: Readable,
    options: { ref?: string; message: string; changes: string[]; platform?: string; signal?: AbortSignal },
  ): Promise<Image>;
  /**
   * The image of a system container, as LXD and Incus have them: a tar with `metadata.yaml` and `rootfs/`, a root file
   * system (tar or squashfs) with its metadata apart or without any, or one from a simplestreams server. Its properties
   * become labels, its init the command. Throws `invalidArchive`, `noSuchRemoteImage`, what a pull throws.
   */
  importRoot(source: RootSource, options: RootImportOptions): Promise<Image>;
  /** What a simplestreams server offers for containers. Throws as a pull does. */
  searchServer(server: string, signal?: AbortSignal): Promise<ServerImage[]>;
  /** A container's changes as a new layer over its image. */
  commit(options: {
    snapshotId: string;
    parentImageId?: string;
    ref?: string;
    author: string;
    comment: string;
    config: ImageConfig;
  }): Promise<Image>;

  /** Checks credentials against the registry. Returns the status text. */
  login(auth: RegistryAuth): Promise<{ status: string; identityToken?: string }>;

  /** Bytes on disk by image, and shared between them. */
  usage(): Promise<{
    total: number;
    perImage: Map<string, { size: number; shared: number; unique: number }>;
  }>;

  /** The snapshot parent for a new container of this image. */
  chainId(imageId: string): string | undefined;

  /** Drops blobs and layers nobody names and resumes or sweeps interrupted work. */
  recover(): Promise<void>;
}

export type RootSource =
  | { archive: AsyncIterable<Buffer>; metadata?: Buffer }
  /** `server`: a configured remote's name, or a URL. `image`: `debian/12`. */
  | { server: string; image: string };

export interface RootImportOptions {
  /** Absent: for what comes from a server, its host, distribution and release; otherwise none. */
  ref?: string;
  platform?: string;
  onProgress: (line: Progress) => void;
  signal?: AbortSignal;
}

export interface ServerImage {
  aliases: string[];
  os: string;
  release: string;
  variant: string;
  /** `amd64` */
  architecture: string;
  /** The newest one, as the server names it. */
  version: string;
  /** Bytes to download. */
  size: number;
}

export interface ImageConfig {
  user: string;
  env: string[];
  entrypoint?: string[];
  command?: string[];
  workingDir: string;
  labels: Record<string, string>;
  /** `80/tcp` */
  exposedPorts: string[];
  volumes: string[];
  stopSignal?: string;
  shell?: string[];
  healthcheck?: HealthCheck;
  onBuild?: string[];
  argsEscaped?: boolean;
}

export interface Image {
  /** `sha256:…` of the configuration blob. */
  id: string;
  /** Familiar names: `busybox:latest`, `localhost:5000/a:b`. */
  tags: string[];
  /** `busybox@sha256:…` */
  repoDigests: string[];
  manifest?: { mediaType: string; digest: string; size: number };
  parentId: string;
  comment: string;
  author: string;
  createdAt: string;
  architecture: string;
  variant?: string;
  os: string;
  osVersion?: string;
  /** Unpacked bytes. */
  size: number;
  diffIds: string[];
  chainIds: string[];
  config: ImageConfig;
  /** The raw `config` object of the OCI configuration, for `inspect`. */
  rawConfig: Record<string, unknown>;
  lastTagTime?: string;
}

export interface HistoryEntry {
  id: string;
  createdAt: string;
  createdBy: string;
  size: number;
  comment: string;
  tags: string[];
}

/** A container that was made from an image. */
export interface ImageUser {
  containerId: string;
  running: boolean;
}

export type RemovedImage = { untagged: string } | { deleted: string };

/** A line of Docker's progress stream. */
export interface Progress {
  status?: string;
  id?: string;
  progressDetail?: { current?: number; total?: number };
  stream?: string;
  aux?: unknown;
}

export interface RegistryAuth {
  username?: string;
  password?: string;
  identityToken?: string;
  registryToken?: string;
  serverAddress?: string;
}

export interface PullOptions {
  platform?: string;
  auth?: RegistryAuth;
  allTags?: boolean;
  onProgress: (line: Progress) => void;
  signal?: AbortSignal;
}

export interface PushOptions {
  auth?: RegistryAuth;
  allTags?: boolean;
  platform?: string;
  onProgress: (line: Progress) => void;
  signal?: AbortSignal;
}
