import type { Engine } from '../../engine/engine.ts';
import type { Route } from '../http/call.ts';
import { autostartRoutes } from './autostart.ts';
import { compareRoutes } from './compare.ts';
import { imageRoutes } from './images.ts';
import { machineRoutes } from './machines/routes.ts';
import { runtimeRoutes } from './runtimes.ts';
import { snapshotRoutes } from './snapshots.ts';

/** Isle's own API, below /isle/v1: what Docker's cannot say. See docs/isle-api.md. */
export function isleRoutes(engine: Engine): Route[] {
  return [
    ...autostartRoutes(engine),
    ...compareRoutes(engine),
    ...runtimeRoutes(engine),
    ...snapshotRoutes(engine),
    ...imageRoutes(engine),
    ...machineRoutes(engine),
  ];
}
