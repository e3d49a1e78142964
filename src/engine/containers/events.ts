import type { EngineContext } from '../context.ts';
import type { ContainerRecord } from './record.ts';

/** Characters of labels that an event takes along. An image may have megabytes, and thousands of events are kept. */
const largestLabels = 64 * 1024;

/** Publishes `action` of a container with what Docker's events carry: labels, image, name, and `more`. */
export function publishContainer(
  { events }: Pick<EngineContext, 'events'>,
  record: Pick<ContainerRecord, 'id' | 'name' | 'labels'> & { spec: { image: string } },
  action: string,
  more: Record<string, string> = {},
): void {
  events.publish('container', action, record.id, {
    ...(sizeOf(record.labels) <= largestLabels && record.labels),
    image: record.spec.image,
    name: record.name,
    ...more,
  });
}

function sizeOf(labels: Record<string, string>): number {
  return Object.entries(labels).reduce((sum, [key, value]) => sum + key.length + value.length, 0);
}
