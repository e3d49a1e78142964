import type { Engine } from '../../engine/engine.ts';
import type { Route } from '../http/call.ts';
import { archiveRoutes } from './archive.ts';
import type { ApiConfig } from './config.ts';
import { containerControlRoutes } from './container-control.ts';
import { containerStreamRoutes } from './container-streams.ts';
import { containerRoutes } from './containers.ts';
import { eventRoutes } from './events.ts';
import { execRoutes } from './exec.ts';
import { imageTransferRoutes } from './image-transfer.ts';
import { imageRoutes } from './images.ts';
import { networkRoutes } from './networks.ts';
import { statsRoutes } from './stats.ts';
import { systemRoutes } from './system.ts';
import { unsupportedRoutes } from './unsupported.ts';
import { volumeRoutes } from './volumes.ts';

/** Docker's Engine API, whole: what is not served answers 501. */
export function dockerRoutes(engine: Engine, config: ApiConfig): Route[] {
  return [
    ...systemRoutes(engine, config),
    ...eventRoutes(engine),
    ...containerRoutes(engine, config),
    ...containerControlRoutes(engine),
    ...containerStreamRoutes(engine),
    ...statsRoutes(engine),
    ...archiveRoutes(engine),
    ...execRoutes(engine),
    ...imageRoutes(engine),
    ...imageTransferRoutes(engine),
    ...networkRoutes(engine),
    ...volumeRoutes(engine),
    ...unsupportedRoutes(),
  ];
}
