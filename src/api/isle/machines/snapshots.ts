import type { Engine } from '../../../engine/engine.ts';
import type { MachineSnapshots } from '../../../engine/machines.ts';
import { isleError } from '../../../lib/errors.ts';
import type { Route } from '../../http/call.ts';
import { json, noContent } from '../../http/reply.ts';
import { refuseUnknown } from './unknown-fields.ts';

/** Snapshots, clones and saved memory of machines. A client that goes away cancels none of it. */
export function machineSnapshotRoutes({ machines }: Engine): Route[] {
  const { snapshots } = machines;
  const one = '/isle/v1/machines/:id';
  const all = `${one}/snapshots`;
  return [
    { method: 'GET', path: all, handle: (call) => json(snapshots.list(call.param('id')).map(render)) },
    {
      method: 'POST',
      path: all,
      async handle(call) {
        const body = await call.json();
        refuseUnknown(body, ['Name', 'Comment', 'Memory', 'Quiesce']);
        const { pausedMs, ...taken } = await snapshots.take(call.param('id'), {
          name: body.text('Name') || undefined,
          comment: commentOf(body.text('Comment')),
          memory: body.flag('Memory'),
          quiesce: body.flag('Quiesce'),
        });
        const answer = {
          ...render({ ...taken, current: true }),
          PausedMs: Math.round(pausedMs * 1000) / 1000,
        };
        return json(answer, 201);
      },
    },
    {
      method: 'GET',
      path: `${all}/:name`,
      handle(call) {
        const { id, name: machine } = machines.get(call.param('id'));
        const name = call.param('name');
        const found = snapshots.list(id).find((snapshot) => snapshot.name === name);
        if (!found) throw isleError('noSuchMachineSnapshot', { id: machine, name: printable(name) });
        return json(render(found));
      },
    },
    {
      method: 'POST',
      path: `${all}/:name/revert`,
      async handle(call) {
        const body = await call.json();
        refuseUnknown(body, ['Force', 'Start']);
        const options = { force: body.flag('Force'), start: body.flag('Start') };
        await snapshots.revert(call.param('id'), call.param('name'), options);
        return noContent();
      },
    },
    {
      method: 'DELETE',
      path: `${all}/:name`,
      async handle(call) {
        await snapshots.remove(call.param('id'), call.param('name'));
        return noContent();
      },
    },
    {
      method: 'POST',
      path: `${one}/clone`,
      async handle(call) {
        const body = await call.json();
        refuseUnknown(body, ['Name', 'Linked', 'Snapshot', 'NoPorts']);
        const { id, warnings } = await machines.clone(call.param('id'), {
          name: body.text('Name') || undefined,
          linked: body.flag('Linked'),
          snapshot: body.text('Snapshot') || undefined,
          ports: !body.flag('NoPorts'),
        });
        return json({ Id: id, Warnings: warnings }, 201);
      },
    },
    {
      method: 'POST',
      path: `${one}/save`,
      async handle(call) {
        await machines.save(call.param('id'));
        return noContent();
      },
    },
  ];
}

function render(snapshot: ReturnType<MachineSnapshots['list']>[number]): object {
  const { name, comment, createdAt, parent, memory, current, hardware } = snapshot;
  return {
    Name: name,
    Comment: comment,
    CreatedAt: createdAt,
    ...(parent !== undefined && { Parent: parent }),
    Memory: memory,
    Current: current,
    Disks: hardware.disks.filter(({ readOnly }) => !readOnly).map(({ target }) => target),
  };
}

/** Characters; it is kept in the database. */
const longestComment = 4096;

function commentOf(text: string): string {
  if (text.length > longestComment)
    throw isleError('invalidParameter', {
      message: `the comment has ${text.length} characters, at most ${longestComment} are kept`,
    });
  return text;
}

function printable(text: string): string {
  return JSON.stringify(text.slice(0, 300)).slice(1, -1);
}
