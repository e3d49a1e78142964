import type { ContainerSnapshot } from '../../engine/engine.ts';

/** A snapshot as `/isle/v1` and `inspect` show it. */
export function renderSnapshot({ name, createdAt, comment, bytes, inodes }: ContainerSnapshot) {
  return { Name: name, CreatedAt: createdAt, Comment: comment, Size: bytes, Inodes: inodes };
}
