import type { Engine } from '../../engine/engine.ts';
import type { EngineEvent } from '../../engine/events.ts';
import type { Call, Route } from '../http/call.ts';
import { parseFilters } from '../http/filters.ts';
import type { Reply } from '../http/reply.ts';
import { parseTimestamp } from './timestamps.ts';

const eventFilters = [
  'config',
  'container',
  'daemon',
  'event',
  'id',
  'image',
  'label',
  'network',
  'node',
  'plugin',
  'scope',
  'secret',
  'service',
  'type',
  'volume',
] as const;

/** bytes that a slow client may leave unread before it is given up */
const maximumBacklog = 4 * 1024 * 1024;

export function eventRoutes(engine: Engine): Route[] {
  return [{ method: 'GET', path: '/events', handle: (call) => events(engine, call) }];
}

/** Headers at once; past events when a time is given; then what comes, until `until` or the client leaves. */
async function events(engine: Engine, call: Call): Promise<Reply> {
  const filter = {
    filters: parseFilters(call.query, eventFilters),
    since: parseTimestamp(call.query.text('since'), 'since'),
    until: parseTimestamp(call.query.text('until'), 'until'),
  };
  const { signal } = call;
  const response = call.stream('application/json');
  const end = Promise.withResolvers<void>();
  const send = (event: EngineEvent): void => {
    response.write(renderEvent(event));
    if (response.writableLength > maximumBacklog) response.destroy();
  };
  // Subscribed and replayed in one go: nothing can happen between.
  const past = filter.since !== undefined || filter.until !== undefined ? engine.events.past(filter) : [];
  const unsubscribe = engine.events.subscribe({ ...filter, since: undefined }, send);
  past.forEach(send);
  const callOff = filter.until === undefined ? undefined : endAt(filter.until, end.resolve);
  signal.addEventListener('abort', () => end.resolve(), { once: true });
  if (signal.aborted) end.resolve();
  await end.promise;
  unsubscribe();
  callOff?.();
  if (!response.destroyed) response.end();
  return 'taken';
}

/** Calls `end` at that time; returns the way to call it off. */
function endAt(until: string, end: () => void): () => void {
  // Timers of more than 24 days fire at once: a wait that long takes a new look each day.
  const day = 86_400_000;
  let timer: NodeJS.Timeout;
  const look = (): void => {
    const left = Number(BigInt(until) / 1_000_000n) - Date.now();
    if (left <= 0) end();
    else timer = setTimeout(look, Math.min(left, day)).unref();
  };
  look();
  return () => clearTimeout(timer);
}

/** With the nanoseconds written digit by digit: they do not fit a double. */
export function renderEvent(event: EngineEvent): string {
  const { type, action, actor } = event;
  const legacy = type === 'container' || type === 'image';
  const body = JSON.stringify({
    ...(legacy && { status: action, id: actor.id }),
    ...(type === 'container' && { from: actor.attributes.image }),
    Type: type,
    Action: action,
    Actor: { ID: actor.id, Attributes: actor.attributes },
    scope: 'local',
    time: Number(BigInt(event.timeNano) / 1_000_000_000n),
  });
  return `${body.slice(0, -1)},"timeNano":${event.timeNano}}\n`;
}
