import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '../../src/lib/log.ts';
import { memoryStore } from '../../src/lib/table.ts';
import { createSnapshots } from '../../src/storage/overlay.ts';
import { createStorageWorkers } from '../../src/storage/storage-workers.ts';
import { snapshotsConformance } from './snapshots.ts';

snapshotsConformance('overlayfs', true, async () => {
  const root = await mkdtemp(join(tmpdir(), 'isle-snapshots-'));
  await chmod(root, 0o711);
  const workers = createStorageWorkers();
  const options = {
    store: memoryStore(),
    dataRoot: root,
    runRoot: join(root, 'run'),
    log: silentLog(),
    workers,
  };
  return {
    snapshots: createSnapshots(options),
    async dispose() {
      await workers.close();
      await rm(root, { recursive: true });
    },
  };
});
