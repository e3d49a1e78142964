import type { Engine } from '../../../engine/engine.ts';
import { parseContainerName } from '../../docker/create/parse-container.ts';
import type { Call, Route } from '../../http/call.ts';
import { json, noContent } from '../../http/reply.ts';
import { withWork } from '../work-stream.ts';
import { parseMachine, parseMachineChange } from './parse-machine.ts';
import { renderDisk, renderMachine, renderSummary } from './render-machine.ts';

/** Create, look at, switch, change, remove. What machines share with containers is done by Docker's routes. */
export function machineCoreRoutes(engine: Engine): Route[] {
  const { machines } = engine;
  const one = '/isle/v1/machines/:id';
  const act = (path: string, work: (id: string) => Promise<unknown>): Route => ({
    method: 'POST',
    path: `${one}/${path}`,
    async handle(call) {
      await work(call.param('id'));
      return noContent();
    },
  });
  return [
    {
      method: 'GET',
      path: '/isle/v1/machines',
      handle: () => json(machines.list().map((machine) => renderSummary(machine, engine))),
    },
    { method: 'POST', path: '/isle/v1/machines', handle: (call) => create(engine, call) },
    {
      method: 'GET',
      path: one,
      async handle(call) {
        const machine = machines.get(call.param('id'));
        // One that hangs, or is just ending, is shown all the same.
        const info = await machines.info(machine.id).catch(() => undefined);
        return json(renderMachine(machine, engine, info));
      },
    },
    {
      method: 'PUT',
      path: `${one}/hardware`,
      async handle(call) {
        const { atNextStart } = await machines.edit(call.param('id'), parseMachineChange(await call.json()));
        return json({ AtNextStart: atNextStart.map(capitalised) });
      },
    },
    {
      method: 'DELETE',
      path: one,
      async handle(call) {
        const { query } = call;
        const options = { force: query.flag('force'), disks: query.flag('disks') };
        await machines.remove(call.param('id'), options);
        return noContent();
      },
    },
    {
      method: 'GET',
      path: `${one}/disks`,
      async handle(call) {
        const disks = await machines.disks(call.param('id'));
        return json(
          disks.map((disk) => ({
            ...renderDisk(disk),
            Size: disk.virtual,
            Allocated: disk.allocated,
            Snapshots: disk.snapshots,
          })),
        );
      },
    },
    act('shutdown', (id) => machines.shutdown(id)),
    act('reboot', (id) => machines.reboot(id)),
    act('reset', (id) => machines.reset(id)),
    act('discard-saved', (id) => machines.discardSaved(id)),
  ];
}

/** Disks that are imported take long: then the answer is a stream. */
async function create({ machines }: Engine, call: Call) {
  const body = await call.json();
  const name = parseContainerName(body.text('Name'));
  const request = parseMachine(body, call.query);
  const render = ({ id, warnings }: { id: string; warnings: string[] }) => ({ Id: id, Warnings: warnings });
  if (!call.query.flag('stream')) return json(render(await machines.create(name, request)), 201);
  return await withWork(call, async (onProgress, signal) =>
    render(await machines.create(name, request, { onProgress, signal })),
  );
}

function capitalised(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1);
}
