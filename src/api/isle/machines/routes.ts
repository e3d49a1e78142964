import type { Engine } from '../../../engine/engine.ts';
import type { Route } from '../../http/call.ts';
import { machineApplianceRoutes } from './appliances.ts';
import { machineBackupRoutes } from './backups.ts';
import { machineCoreRoutes } from './core.ts';
import { machineHardwareRoutes } from './hardware.ts';
import { machineScreenRoutes } from './screen.ts';
import { machineSnapshotRoutes } from './snapshots.ts';

const kinds = [
  machineCoreRoutes,
  machineHardwareRoutes,
  machineApplianceRoutes,
  machineBackupRoutes,
  machineScreenRoutes,
  machineSnapshotRoutes,
] satisfies ((engine: Engine) => Route[])[];

/** `/isle/v1/machines…`: one line for each thing that machines can do, its routes in a file of their own. */
export function machineRoutes(engine: Engine): Route[] {
  return kinds.flatMap((routes) => routes(engine));
}
