import type { Ending, RuntimeTraits, Workload } from '../../engine/runtime.ts';
import type { SpecHost } from './spec.ts';
import type { OciSpec } from './spec-types.ts';

/** How an isolation that is made of OCI containers differs from a plain one. */
export interface Dressing {
  readonly name: string;
  readonly traits: RuntimeTraits;
  /** What `workload` shall be, before anything is made. Throws what `Runtime.create` throws. */
  dress(workload: Workload, host: SpecHost): Promise<Dressed>;
  /** Everything of `id` is gone, also when it never came to be. */
  removed?(id: string): Promise<void>;
  close?(): Promise<void>;
}

export interface Dressed {
  /** What the configuration is made from. */
  workload: Workload;
  /** Set for what boots an init: its end may be a reboot. Kept with the workload. */
  ending?: Ending;
  /** The last word on the configuration. */
  change?(spec: OciSpec): void;
  /** The process and its cgroup (path below the hierarchies) exist, and nothing of it runs yet. */
  created?(cgroup: string): Promise<void>;
}

/** Containers as they are. */
export const plain: Dressing = {
  name: 'oci',
  traits: { ownKernel: false, idMap: false, bootsInit: false },
  dress: async (workload) => ({ workload }),
};
