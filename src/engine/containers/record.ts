import type { Container, MountSpec } from '../model.ts';

/** What the engine keeps of a container beyond what its clients see. */
export interface ContainerRecord extends Container {
  /** Every mount of the container with nothing left to look up: volumes named, those of others and of the image included. */
  mountSpecs: MountSpec[];
  /** Volumes made for this container alone: they go with `rm -v` and `--rm`. */
  anonymousVolumes: string[];
  /** The layers it stands on. */
  chainId?: string;
}
