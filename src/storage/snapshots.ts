import type { Readable } from 'node:stream';
import type { IdMap } from '../engine/runtime.ts';

/**
 * The contract of layered root file systems. A layer is read-only, named by its chain id and unpacked once;
 * a snapshot is a writable view over a stack of layers, named by its owner (a container id).
 *
 * Layout of the overlay implementation under the data root: `layers/<chain-id-hex>/diff`,
 * `snapshots/<id>/{upper,work}`; the merged root is mounted by `mount` under the run root.
 */
export interface Snapshots {
  /** True when the layer is complete and recorded. */
  hasLayer(chainId: string): boolean;

  /** A directory to unpack a layer into. Only `commitLayer` makes it visible; unfinished ones are swept on start. */
  beginLayer(chainId: string): Promise<{ path: string; abandon(): Promise<void> }>;

  /**
   * Makes an unpacked layer visible under its chain id. `size` is its unpacked size in bytes. A crash of the engine keeps
   * it; it is written to the disk behind this, and `recover` drops what a power cut came before. `implied`: directories
   * (byte strings) that its archive did not describe; they take after those of the layers below, lest `/tmp` lose its
   * mode because something was put into it.
   */
  commitLayer(chainId: string, layer: NewLayer): Promise<void>;

  /** Throws `conflict` while another layer or a snapshot stands on it. */
  removeLayer(chainId: string): Promise<void>;

  /** Every complete layer. `used`: another layer or a snapshot stands on it. */
  layers(): { chainId: string; parent?: string; diffId: string; size: number; used: boolean }[];

  /**
   * Makes the writable directories of snapshot `id` over `parent` (a chain id; undefined: over nothing).
   * `volatile`: it will be thrown away with its container (`--rm`), so that its fsyncs and its unmounting need not
   * wait for the disk; after a power failure its content is undefined.
   */
  prepare(id: string, parent: string | undefined, options?: { volatile?: boolean }): Promise<void>;

  /**
   * Mounts snapshot `id` (once; a second call is a no-op) and returns the merged root. `idMap`: for a user namespace with
   * that map; what is written on the disk keeps the owners as they are inside.
   */
  mount(id: string, options?: { idMap?: IdMap }): Promise<string>;

  unmount(id: string): Promise<void>;

  /** What `id` changed over its layers, as `docker diff` shows it: 0 modified, 1 added, 2 deleted. */
  changes(id: string): Promise<{ path: string; kind: 0 | 1 | 2 }[]>;

  /** Bytes and inodes of the writable part. Sparse-aware: what the disk holds. */
  usage(id: string): Promise<{ bytes: number; inodes: number }>;

  /** Bytes of one layer. */
  layerSize(chainId: string): number;

  /** Unmounts and removes everything of `id`; idempotent. Deleting the files goes on in the background. */
  remove(id: string): Promise<void>;

  /** After a restart: drops half-made layers, and snapshots and mounts whose owner is not in `known`. */
  recover(known: ReadonlySet<string>): Promise<void>;

  /**
   * What `id` changed as an image layer: an uncompressed tar with whiteouts, owners, xattrs and holes. The caller
   * reads it to its end or destroys it.
   */
  layerTar(id: string): Promise<Readable>;

  /**
   * Keeps a copy of what `id` has written under `name`, to the byte, owner, xattr and hole; it goes with `id`. Blocks are
   * shared where the file system can. Throws `savedNameInUse`, `diskFull`. Nothing is left when it fails.
   */
  save(id: string, name: string, options?: CopyOptions & { comment?: string }): Promise<SavedRoot>;

  /** Oldest first. */
  saved(id: string): SavedRoot[];

  /**
   * What `id` has written is again what it had been; the saved copy stays. All or nothing, whenever the engine dies.
   * Throws `noSuchSaved`, and `conflict` while `id` is mounted.
   */
  restore(id: string, name: string): Promise<void>;

  /** Throws `noSuchSaved`. */
  removeSaved(id: string, name: string): Promise<void>;

  /**
   * Like {@link prepare}, over the same layers and with a copy of what `source` has written (or had, when `saved` is
   * given), but without what makes a machine that machine (its generated `/etc/machine-id`). Independent of its source.
   */
  cloneFrom(
    source: { id: string; saved?: string },
    id: string,
    options?: CopyOptions & { volatile?: boolean },
  ): Promise<void>;

  /** Resolves when everything removed so far is off the disk. */
  settled(): Promise<void>;
}

/** A copy of what a container had written. */
export interface SavedRoot {
  name: string;
  /** ISO 8601 */
  createdAt: string;
  comment: string;
  /** On the disk; blocks that are shared with others count in full. */
  bytes: number;
  inodes: number;
}

export interface CopyOptions {
  /** Called once with the copying to do: it may make the writers hold still around it. */
  quietly?: (copy: () => Promise<void>) => Promise<void>;
  /** There are writers: what can be copied before they hold still is to be. */
  busy?: boolean;
}

export interface NewLayer {
  parent?: string;
  diffId: string;
  size: number;
  implied?: string[];
}
