import { join } from 'node:path';
import { detectCgroups } from '../../host/cgroup/detect.ts';
import { isleError } from '../../lib/errors.ts';
import { type OciRuntime, type OciRuntimeOptions, createOciRuntime } from '../oci/runtime.ts';
import { layoutOf } from '../oci/layout.ts';
import { readNumber } from '../oci/record.ts';
import { systemDressing } from './dressing.ts';
import { Lxcfs } from './lxcfs.ts';

/**
 * Whole distributions with their init in an OCI container. Throws `unavailable` on a host without the unified cgroup
 * hierarchy, which systemd cannot do without.
 */
export async function createSystemRuntime(options: OciRuntimeOptions): Promise<OciRuntime> {
  const { unified } = await detectCgroups();
  if (unified === undefined)
    throw isleError('unavailable', {
      message:
        'system containers need the unified control groups: mount cgroup2 on /sys/fs/cgroup/unified (see isle doctor)',
    });
  const layout = layoutOf(options.runRoot, options.instance);
  const lxcfs = await Lxcfs.open({
    directory: join(options.runRoot, 'lxcfs'),
    log: options.log,
    pidOf: (id) => readNumber(join(layout.bundle(id), 'pid')),
  });
  return await createOciRuntime({ ...options, dressing: systemDressing({ unified, lxcfs }) });
}
