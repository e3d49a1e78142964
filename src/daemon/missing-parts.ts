import type { Appliances } from '../images/appliances.ts';
import { isleError } from '../lib/errors.ts';
import type { Disks } from '../storage/disks.ts';

/** A disk store that has nothing and makes nothing. */
export function noDisks(): Disks {
  const refuse = () => {
    throw isleError('notImplemented', { what: 'the disk store' });
  };
  return {
    create: refuse,
    import: refuse,
    clone: refuse,
    get: refuse,
    list: () => [],
    usage: refuse,
    resize: refuse,
    takeSnapshot: refuse,
    revertSnapshot: refuse,
    removeSnapshot: refuse,
    files: refuse,
    export: refuse,
    remove: refuse,
    claim: refuse,
    release: () => {},
    recover: async () => {},
  };
}

export function noAppliances(): Appliances {
  const refuse = () => {
    throw isleError('notImplemented', { what: 'formats of other hypervisors' });
  };
  return { read: refuse, write: refuse };
}
