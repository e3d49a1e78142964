import { errnoOf, isIsleError, isleError, messageOf } from '../../lib/errors.ts';
import { refusal } from './refuse.ts';

/** An error of writing `path` out of the part `name` of an appliance, in words for the user. */
export function explain(error: unknown, name: string, path: string): unknown {
  if (isIsleError(error)) return error;
  const code = errnoOf(error);
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG')
    return isleError('diskFull', { path, what: 'taking a disk out of an appliance' }, error);
  if (code === 'EEXIST')
    return isleError(
      'conflict',
      { message: `${path} is there already: remove it or take another name` },
      error,
    );
  if (code !== undefined && ['ENOENT', 'ENOTDIR', 'EACCES', 'EROFS', 'ENAMETOOLONG', 'EPERM'].includes(code))
    return isleError('invalidParameter', { message: `cannot write ${path}: ${messageOf(error)}` }, error);
  if (code?.startsWith('Z_'))
    return refusal(name, `its compressed data is damaged (${messageOf(error)})`, error);
  return error;
}
