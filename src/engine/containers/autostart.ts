import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '../../lib/errors.ts';
import type { EngineContext } from '../context.ts';
import type { Autostart } from '../engine.ts';
import type { ContainerState, RestartPolicy } from '../model.ts';
import { inParallel } from '../parallel.ts';
import { knownAutostart, withAutostart } from './autostart-labels.ts';
import { publishContainer } from './events.ts';
import type { ContainerRecord } from './record.ts';
import { isRunning } from './records.ts';
import { comesBack } from './restart-policy.ts';
import { stopContainer } from './stop.ts';

/** Sets the labels, keeping what is not said; undefined takes them away. */
export async function setAutostart(
  ctx: EngineContext,
  reference: string,
  wanted: Partial<Autostart> | undefined,
): Promise<void> {
  const { id } = ctx.records.find(reference);
  await ctx.queue.run(id, async () =>
    ctx.store.transaction(() => {
      const changed = ctx.records.change(id, ({ spec, labels }) => {
        const merged = wanted && { order: 0, delay: 0, ...knownAutostart(spec.labels), ...definedOf(wanted) };
        return {
          labels: withAutostart(labels, merged),
          spec: { ...spec, labels: withAutostart(spec.labels, merged) },
        };
      });
      publishContainer(ctx, changed, 'update');
    }),
  );
}

/** Whether it is meant to come up with the engine. */
export function wantsAutostart(labels: Record<string, string>, policy: RestartPolicy): boolean {
  return policy.name === 'always' || policy.name === 'unless-stopped' || knownAutostart(labels) !== undefined;
}

/** Whether a container that is down comes up with the engine (or the host). */
export function startsWithEngine(
  labels: Record<string, string>,
  policy: RestartPolicy,
  state: ContainerState,
): boolean {
  return comesBack(policy, state) || (knownAutostart(labels) !== undefined && !state.stoppedByUser);
}

/**
 * Brings up what comes back with the engine: lower orders first, those of one order together, and after each order its
 * longest delay. One that does not come up keeps nobody waiting for more than a minute.
 */
export async function startInOrder(ctx: EngineContext, records: ContainerRecord[]): Promise<void> {
  for (const group of byOrder(records)) {
    if (ctx.closing.aborted) return;
    const started = Promise.all(group.map(({ id }) => ctx.restarts.now(id)));
    await Promise.race([
      started,
      sleep(patience, undefined, { signal: ctx.closing, ref: false }).catch(() => {}),
    ]);
    const delay = Math.max(...group.map(({ spec }) => knownAutostart(spec.labels)?.delay ?? 0));
    if (delay > 0) await sleep(delay * 1000, undefined, { signal: ctx.closing, ref: false }).catch(() => {});
  }
}

/**
 * Stops everything in the opposite order. What comes up with the engine does so the next time: nobody has stopped it for good.
 * Failures do not keep the others up; the first is thrown at the end.
 */
export async function stopAll(ctx: EngineContext): Promise<void> {
  const up = ctx.records.all().filter(({ state }) => isRunning(state) || state.phase === 'restarting');
  const failures: unknown[] = [];
  for (const group of byOrder(up).reverse())
    await inParallel(
      ...group.map(async ({ id, name }) => {
        try {
          await stopContainer(ctx, id, { comesBack: true });
        } catch (error) {
          ctx.log.error({ container: id, err: error }, `stopping ${name}: ${messageOf(error)}`);
          failures.push(error);
        }
      }),
    );
  if (failures.length > 0) throw failures[0];
}

/** Milliseconds. */
const patience = 60_000;

function definedOf({ order, delay }: Partial<Autostart>): Partial<Autostart> {
  return { ...(order !== undefined && { order }), ...(delay !== undefined && { delay }) };
}

function byOrder(records: ContainerRecord[]): ContainerRecord[][] {
  const groups = Map.groupBy(records, ({ spec }) => knownAutostart(spec.labels)?.order ?? 0);
  return [...groups].sort(([a], [b]) => a - b).map(([, group]) => group);
}
