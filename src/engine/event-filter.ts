import type { EngineEvent, EventFilter } from './events.ts';

/** Whether `event` passes: values of one key OR, different keys AND (Docker's `events` filters). */
export function matchesEvent(event: EngineEvent, { since, until, filters }: EventFilter): boolean {
  const time = BigInt(event.timeNano);
  if (since !== undefined && time < BigInt(since)) return false;
  if (until !== undefined && time > BigInt(until)) return false;
  return Object.entries(filters).every(
    ([key, values]) => values.length === 0 || values.some((value) => matchesOne(event, key, value)),
  );
}

/** Actions that carry a detail after `: ` and are asked for without it. */
const prefixed = ['health_status', 'exec_create', 'exec_start'];

function matchesOne(event: EngineEvent, key: string, value: string): boolean {
  const { type, action, actor } = event;
  switch (key) {
    case 'event':
      return action === value || (prefixed.includes(value) && action.startsWith(value));
    case 'type':
      return type === value;
    case 'container':
    case 'image':
    case 'network':
    case 'volume':
    case 'daemon':
      return isAbout(event, key, value);
    case 'label':
      return hasLabel(actor.attributes, value);
    case 'scope':
      return value === 'local';
    case 'id':
      return actor.id === value;
    default:
      return false;
  }
}

/** By id, id prefix or name; a container's event also counts for its image, a volume's for its container. */
function isAbout({ type, actor }: EngineEvent, kind: EngineEvent['type'], value: string): boolean {
  const { name, image, container } = actor.attributes;
  if (type === kind) {
    const plain = value.replace(/^\//, '');
    return (
      actor.id === value ||
      name === plain ||
      (plain.length >= 4 && actor.id.replace(/^sha256:/, '').startsWith(plain))
    );
  }
  if (kind === 'image' && type === 'container') return image === value || image?.split(':')[0] === value;
  if (kind === 'container') return container !== undefined && container.startsWith(value);
  return false;
}

function hasLabel(attributes: Record<string, string>, wanted: string): boolean {
  const at = wanted.indexOf('=');
  const key = at < 0 ? wanted : wanted.slice(0, at);
  return Object.hasOwn(attributes, key) && (at < 0 || attributes[key] === wanted.slice(at + 1));
}
