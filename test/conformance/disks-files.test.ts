import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '../../src/lib/log.ts';
import { createDisks } from '../../src/storage/disks/service.ts';
import { disksConformance } from './disks.ts';

disksConformance('the disk store', async () => {
  const dataRoot = await mkdtemp(join(tmpdir(), 'isle-disks-'));
  const open = () => createDisks({ dataRoot, log: silentLog() });
  return { disks: open(), reopen: open, dispose: () => rm(dataRoot, { recursive: true }) };
});
