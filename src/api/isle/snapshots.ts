import type { Engine } from '../../engine/engine.ts';
import { isleError } from '../../lib/errors.ts';
import type { Call, Route } from '../http/call.ts';
import { json, noContent } from '../http/reply.ts';
import { renderSnapshot } from './render-snapshot.ts';

/** Snapshots and clones of containers. A client that goes away cancels none of it. */
export function snapshotRoutes({ snapshots, containers }: Engine): Route[] {
  const all = '/isle/v1/containers/:id/snapshots';
  return [
    {
      method: 'GET',
      path: all,
      handle: (call) => json(snapshots.list(call.param('id')).map(renderSnapshot)),
    },
    {
      method: 'POST',
      path: all,
      async handle(call) {
        const body = await call.json();
        const taken = await snapshots.take(call.param('id'), {
          name: body.text('Name') || undefined,
          comment: commentOf(body.text('Comment')),
        });
        return json({ ...renderSnapshot(taken), PausedMs: Math.round(taken.pausedMs * 1000) / 1000 }, 201);
      },
    },
    {
      method: 'GET',
      path: `${all}/:name`,
      handle(call) {
        const { id } = containers.get(call.param('id'));
        const name = call.param('name');
        const found = snapshots.list(id).find((one) => one.name === name);
        if (!found) throw isleError('noSuchSaved', { name, id });
        return json(renderSnapshot(found));
      },
    },
    {
      method: 'POST',
      path: `${all}/:name/restore`,
      async handle(call) {
        const body = await call.json();
        await snapshots.restore(call.param('id'), call.param('name'), {
          restart: body.flag('Restart'),
          timeout: timeoutOf(body.optionalInteger('Timeout')),
        });
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
    { method: 'POST', path: '/isle/v1/containers/:id/clone', handle: (call) => clone(call, snapshots) },
  ];
}

async function clone(call: Call, snapshots: Engine['snapshots']) {
  const body = await call.json();
  const { id, warnings } = await snapshots.clone(call.param('id'), {
    name: body.text('Name') || undefined,
    snapshot: body.text('Snapshot') || undefined,
    ports: !body.flag('NoPorts'),
  });
  return json({ Id: id, Warnings: warnings }, 201);
}

/** Characters; it is kept in the database. */
const longestComment = 4096;

function commentOf(text: string): string {
  if (text.length <= longestComment) return text;
  throw isleError('invalidParameter', {
    message: `the comment has ${text.length} characters, at most ${longestComment} are kept`,
  });
}

function timeoutOf(seconds: number | undefined): number | undefined {
  if (seconds !== undefined && seconds < -1)
    throw isleError('invalidParameter', {
      message: `Timeout: ${seconds} is not a number of seconds (-1 waits for ever)`,
    });
  return seconds;
}
