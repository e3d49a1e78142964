import type { Engine } from '../../engine/engine.ts';
import type { Route } from '../http/call.ts';
import { json } from '../http/reply.ts';

/** Every isolation by name, those that this host lacks with the reason (Docker's list has no room for them). */
export function runtimeRoutes(engine: Engine): Route[] {
  return [
    {
      method: 'GET',
      path: '/isle/v1/runtimes',
      async handle() {
        const { runtimes, defaultRuntime } = await engine.system.info();
        return json({
          Default: defaultRuntime,
          Runtimes: Object.entries(runtimes).map(([name, { path, version, status, why }]) => ({
            ...{ Name: name, Path: path, Version: version, Status: status },
            ...(why !== undefined && { Reason: why }),
          })),
        });
      },
    },
  ];
}
