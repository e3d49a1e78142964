import type { PortBinding } from '../engine/model.ts';

/** Which pod has which host port. Every address of the host counts as one with the wildcard of its family. */
export class PortTable {
  readonly #taken = new Map<string, { hostIp: string; podId: string }[]>();

  /** The pod that has the port on this address, or undefined. */
  holder(binding: PortBinding): string | undefined {
    return this.#taken.get(keyOf(binding))?.find((entry) => collide(entry.hostIp, binding.hostIp))?.podId;
  }

  add(podId: string, binding: PortBinding): void {
    const key = keyOf(binding);
    const entries = this.#taken.get(key) ?? [];
    entries.push({ hostIp: binding.hostIp, podId });
    this.#taken.set(key, entries);
  }

  remove(podId: string, bindings: readonly PortBinding[]): void {
    for (const binding of bindings) {
      const key = keyOf(binding);
      const rest = (this.#taken.get(key) ?? []).filter(
        (entry) => entry.podId !== podId || entry.hostIp !== binding.hostIp,
      );
      if (rest.length === 0) this.#taken.delete(key);
      else this.#taken.set(key, rest);
    }
  }
}

function keyOf({ protocol, hostPort }: PortBinding): string {
  return `${protocol}/${hostPort}`;
}

function collide(a: string, b: string): boolean {
  if (a.includes(':') !== b.includes(':')) return false;
  return a === b || a === '0.0.0.0' || b === '0.0.0.0' || a === '::' || b === '::';
}
