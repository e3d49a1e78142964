import { isAbsolute } from 'node:path';
import type { Engine } from '../../../engine/engine.ts';
import type { BackupRecord } from '../../../engine/machines.ts';
import { isleError } from '../../../lib/errors.ts';
import { parseContainerName } from '../../docker/create/parse-container.ts';
import type { Route } from '../../http/call.ts';
import type { Fields } from '../../http/fields.ts';
import { json } from '../../http/reply.ts';
import { withWork } from '../work-stream.ts';
import { requiredText, word } from './parse-hardware.ts';
import { refuseUnknown } from './unknown-fields.ts';

/** Backups of machines, in directories of the engine's host. */
export function machineBackupRoutes({ machines }: Engine): Route[] {
  const { backups } = machines;
  return [
    {
      method: 'POST',
      path: '/isle/v1/machines/:id/backups',
      async handle(call) {
        const body = await call.json();
        refuseUnknown(body, ['Repository', 'Mode', 'Quiesce']);
        const repository = directoryOf(requiredText(body, 'Repository'));
        const mode = word(body, 'Mode', ['auto', 'full', 'incremental']) ?? 'auto';
        const quiesce = body.flag('Quiesce');
        const { id, name } = machines.get(call.param('id'));
        return await withWork(call, async (onProgress, signal) => {
          const taken = await backups.take(id, {
            repository,
            mode,
            quiesce,
            signal,
            onProgress: (done, total) => onProgress(name, done, total),
          });
          return { ...render(taken), MovedBytes: taken.movedBytes, PausedMs: taken.pausedMs };
        });
      },
    },
    {
      method: 'GET',
      path: '/isle/v1/backups',
      async handle(call) {
        const found = await backups.list(directoryOf(call.query.text('repository')));
        return json({
          Backups: found.backups.map(render),
          Damaged: found.damaged.map(({ id, file, why }) => ({ Id: id, File: file, Why: why })),
        });
      },
    },
    {
      method: 'POST',
      path: '/isle/v1/backups/verify',
      async handle(call) {
        const { repository, backup } = await placeOf(await call.json(), []);
        return await withWork(call, async (onProgress, signal) => {
          const verified = await backups.verify(repository, backup, {
            signal,
            onProgress: (done, total) => onProgress(backup, done, total),
          });
          return { Backups: verified.backups, Bytes: verified.bytes };
        });
      },
    },
    {
      method: 'POST',
      path: '/isle/v1/backups/restore',
      async handle(call) {
        const body = await call.json();
        const { repository, backup } = await placeOf(body, ['Name']);
        const name = parseContainerName(body.text('Name'));
        return await withWork(call, async (onProgress, signal) => {
          const { id, warnings } = await backups.restore(repository, backup, {
            name,
            signal,
            onProgress: (done, total) => onProgress(backup, done, total),
          });
          return { Id: id, Name: machines.get(id).name, Warnings: warnings };
        });
      },
    },
    {
      method: 'POST',
      path: '/isle/v1/backups/prune',
      async handle(call) {
        const body = await call.json();
        refuseUnknown(body, ['Repository', 'Machine', 'Keep']);
        const keep = body.integer('Keep');
        const repository = directoryOf(requiredText(body, 'Repository'));
        const { removed } = await backups.prune(repository, requiredText(body, 'Machine'), { keep });
        return json({ Removed: removed });
      },
    },
    {
      method: 'DELETE',
      path: '/isle/v1/backups/:backup',
      async handle(call) {
        const repository = directoryOf(call.query.text('repository'));
        const dependents = call.query.flag('dependents');
        const { removed } = await backups.remove(repository, call.param('backup'), { dependents });
        return json({ Removed: removed });
      },
    },
    {
      method: 'POST',
      path: '/isle/v1/machines/:id/migrate',
      async handle(call) {
        const { id, name } = machines.get(call.param('id'));
        return await withWork(call, async (onProgress, signal) => {
          const { pausedMs, qemuVersion } = await machines.migrate(id, {
            signal,
            onProgress: (done, total) => onProgress(name, done, total),
          });
          return { PausedMs: pausedMs, QemuVersion: qemuVersion };
        });
      },
    },
  ];
}

async function placeOf(body: Fields, more: string[]): Promise<{ repository: string; backup: string }> {
  refuseUnknown(body, ['Repository', 'Backup', ...more]);
  return {
    repository: directoryOf(requiredText(body, 'Repository')),
    backup: requiredText(body, 'Backup'),
  };
}

function directoryOf(path: string): string {
  if (isAbsolute(path)) return path;
  throw isleError('invalidParameter', {
    message: `the directory of backups must be an absolute path of the host, not "${path.slice(0, 200)}"`,
  });
}

function render(backup: BackupRecord) {
  return {
    Id: backup.id,
    Machine: { Id: backup.machine.id, Name: backup.machine.name },
    CreatedAt: backup.createdAt,
    Mode: backup.mode,
    ...(backup.reason !== undefined && { Reason: backup.reason }),
    ...(backup.parent !== undefined && { Parent: backup.parent }),
    Quiesced: backup.quiesced,
    Disks: backup.disks.map(({ target, virtual, bytes }) => ({
      Target: target,
      Size: virtual,
      Bytes: bytes,
    })),
  };
}
