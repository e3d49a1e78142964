import type { Logger } from '../../lib/log.ts';
import { tidyFiles } from './own-files.ts';
import type { Shelf } from './shelf.ts';

/**
 * Brings every disk to a state that some answer told of. An overlay that a machine may have begun to write is taken for the
 * disk's file, whether it did or not: as long as it is empty it reads as what it stands on.
 */
export async function recoverDisks(shelf: Shelf, known: ReadonlySet<string>, log: Logger): Promise<void> {
  for (const { id, next } of shelf.all()) {
    if (next === undefined) continue;
    log.warn(
      { disk: id, file: next.name },
      'a linked clone was interrupted: the disk goes on in its overlay',
    );
    shelf.adoptNext(id);
  }
  shelf.sweep();
  await dropOrphans(shelf, known, log);
  for (const { id, owner, fresh } of shelf.all()) {
    if (known.has(id) ? fresh : owner !== undefined)
      shelf.change(id, () => ({ fresh: false, ...(!known.has(id) && { owner: undefined }) }));
    await tidyFiles(shelf, id);
  }
}

/** Disks whose machine was never made: nobody was told of them. Clones before what they stand on. */
async function dropOrphans(shelf: Shelf, known: ReadonlySet<string>, log: Logger): Promise<void> {
  for (;;) {
    const orphan = shelf.all().find(({ id, fresh }) => {
      return fresh && !known.has(id) && shelf.standingOn(id).every(({ disk }) => disk === id);
    });
    if (orphan === undefined) return;
    log.warn({ disk: orphan.id }, 'removing a disk whose machine was never made');
    await shelf.drop(orphan.id);
  }
}
