import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createContentStore } from '../../src/images/store/store.ts';
import { silentLog } from '../../src/lib/log.ts';
import { memoryStore } from '../../src/lib/table.ts';
import { contentStoreConformance } from './content-store.ts';

contentStoreConformance('the store on disk', async () => {
  const dataRoot = await mkdtemp(join(tmpdir(), 'isle-content-'));
  return {
    content: createContentStore({ store: memoryStore(), dataRoot, log: silentLog() }),
    dispose: () => rm(dataRoot, { recursive: true }),
  };
});
