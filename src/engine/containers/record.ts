import type { Container, MountSpec } from '../model.ts';
import type { IdMap } from '../runtime.ts';

/** What the engine keeps of a container beyond what its clients see. */
export interface ContainerRecord extends Container {
  /** Every mount of the container with nothing left to look up: volumes named, those of others and of the image included. */
  mountSpecs: MountSpec[];
  /** Volumes made for this container alone: they go with `rm -v` and `--rm`. */
  anonymousVolumes: string[];
  /** Its user namespace's ids on the host, for as long as it is there. Absent: it runs in the host's. */
  idMap?: IdMap;
  /** The layers it stands on. */
  chainId?: string;
}
