import type { Engine, PathStat } from '../../engine/engine.ts';
import { isleError } from '../../lib/errors.ts';
import type { Query } from '../http/query.ts';
import type { Route } from '../http/call.ts';
import { noContent } from '../http/reply.ts';

/** `docker cp` and `docker export`. */
export function archiveRoutes(engine: Engine): Route[] {
  const { containers } = engine;
  const path = '/containers/:id/archive';
  return [
    {
      method: 'HEAD',
      path,
      async handle(call) {
        const stat = await containers.statPath(call.param('id'), archivePath(call.query));
        return { status: 200, headers: statHeader(stat) };
      },
    },
    {
      method: 'GET',
      path,
      async handle(call) {
        const { stat, tar } = await containers.readArchive(call.param('id'), archivePath(call.query));
        return {
          status: 200,
          headers: { 'content-type': 'application/x-tar', ...statHeader(stat) },
          body: tar,
        };
      },
    },
    {
      method: 'PUT',
      path,
      async handle(call) {
        await containers.writeArchive(call.param('id'), archivePath(call.query), call.body, {
          noOverwriteDirNonDir: call.query.flag('noOverwriteDirNonDir'),
          copyUidGid: call.query.flag('copyUIDGID'),
        });
        return noContent(200);
      },
    },
    {
      method: 'GET',
      path: '/containers/:id/export',
      async handle(call) {
        const body = await containers.export(call.param('id'));
        return { status: 200, headers: { 'content-type': 'application/octet-stream' }, body };
      },
    },
  ];
}

function archivePath(query: Query): string {
  const path = query.text('path');
  if (path === '') throw isleError('invalidParameter', { message: 'bad parameter: path cannot be empty' });
  if (path.includes('\0'))
    throw isleError('invalidParameter', { message: 'bad parameter: path contains a NUL byte' });
  return path;
}

function statHeader(stat: PathStat): Record<string, string> {
  const { name, size, mode, mtime, linkTarget } = stat;
  const value = Buffer.from(JSON.stringify({ name, size, mode, mtime, linkTarget })).toString('base64');
  return { 'x-docker-container-path-stat': value };
}
