import type { Engine } from '../../../engine/engine.ts';
import type { StoredDisk } from '../../../engine/machines.ts';
import type { Fields } from '../../http/fields.ts';
import type { Call, Route } from '../../http/call.ts';
import { json, noContent } from '../../http/reply.ts';
import { withWork } from '../work-stream.ts';
import { parseDisk, parseLimits } from './parse-disk.ts';
import { refuseUnknown } from './unknown-fields.ts';

/** What a machine takes up while it runs, and the disks of the store. */
export function machineHardwareRoutes({ machines }: Engine): Route[] {
  const { hardware, storage } = machines;
  const one = '/isle/v1/machines/:id';
  const change = (method: 'PUT' | 'DELETE', path: string, work: (call: Call) => Promise<unknown>): Route => ({
    method,
    path,
    async handle(call) {
      await work(call);
      return noContent();
    },
  });
  return [
    {
      method: 'POST',
      path: `${one}/disks`,
      async handle(call) {
        const request = parseDisk(await call.json());
        const { id } = machines.get(call.param('id'));
        if (!call.query.flag('stream'))
          return json({ Target: (await hardware.attachDisk(id, request)).target }, 201);
        return await withWork(call, async (onProgress, signal) => {
          const { target } = await hardware.attachDisk(id, request, { onProgress, signal });
          return { Target: target };
        });
      },
    },
    change('DELETE', `${one}/disks/:target`, (call) =>
      hardware.detachDisk(call.param('id'), call.param('target'), { remove: call.query.flag('remove') }),
    ),
    change('PUT', `${one}/disks/:target/size`, async (call) =>
      hardware.resizeDisk(call.param('id'), call.param('target'), await onlyNumber(call, 'Size')),
    ),
    change('PUT', `${one}/disks/:target/limits`, async (call) =>
      hardware.limitDisk(call.param('id'), call.param('target'), parseLimits(await call.json())),
    ),
    change('PUT', `${one}/cdroms/:target`, async (call) => {
      const body = await call.json();
      refuseUnknown(body, ['Path']);
      await hardware.changeMedium(call.param('id'), call.param('target'), body.text('Path') || undefined);
    }),
    change('PUT', `${one}/vcpus`, async (call) =>
      hardware.setVcpus(call.param('id'), await onlyNumber(call, 'Count')),
    ),
    change('PUT', `${one}/memory`, async (call) =>
      hardware.setMemory(call.param('id'), await onlyNumber(call, 'Bytes')),
    ),
    {
      method: 'GET',
      path: '/isle/v1/disks',
      handle: async () => json((await storage.list()).map(renderStored)),
    },
    change('DELETE', '/isle/v1/disks/:id', (call) => storage.remove(call.param('id'))),
    change('PUT', '/isle/v1/disks/:id/size', async (call) => {
      const body = await call.json();
      refuseUnknown(body, ['Size', 'Shrink']);
      await storage.resize(call.param('id'), number(body, 'Size'), { shrink: body.flag('Shrink') });
    }),
  ];
}

/** The one number that the body has to have. */
async function onlyNumber(call: Call, name: string): Promise<number> {
  const body = await call.json();
  refuseUnknown(body, [name]);
  return number(body, name);
}

function number(body: Fields, name: string): number {
  const value = body.optionalInteger(name);
  if (value === undefined) throw body.invalid(name, 'missing');
  return value;
}

function renderStored({
  id,
  format,
  size,
  allocated,
  createdAt,
  base,
  machine,
  snapshots,
}: StoredDisk): object {
  return {
    Id: id,
    Format: format,
    Size: size,
    Allocated: allocated,
    CreatedAt: createdAt,
    ...(base !== undefined && { Base: base }),
    ...(machine !== undefined && { Machine: machine }),
    Snapshots: snapshots,
  };
}
