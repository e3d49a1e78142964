import type { EngineContext } from '../context.ts';
import type { ContainerRecord } from './record.ts';

/** Publishes `action` of a container with what Docker's events carry: labels, image, name, and `more`. */
export function publishContainer(
  { events }: EngineContext,
  record: ContainerRecord,
  action: string,
  more: Record<string, string> = {},
): void {
  events.publish('container', action, record.id, {
    ...record.labels,
    image: record.spec.image,
    name: record.name,
    ...more,
  });
}
