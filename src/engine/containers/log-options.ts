import { isleError } from '../../lib/errors.ts';
import { didYouMean } from '../../lib/suggest.ts';
import { parseBytes } from '../../lib/units.ts';
import type { LogConfig } from '../model.ts';

export interface LogLimits {
  /** bytes of one file; undefined: never rotated */
  maxSize?: number;
  /** how many files are kept, the current one included */
  maxFile: number;
}

const drivers = ['json-file', 'local', 'none'];
/** Those that `docker logs --details` shows are accepted and kept; they change nothing in the file. */
const known = [
  'max-size',
  'max-file',
  'compress',
  'labels',
  'labels-regex',
  'env',
  'env-regex',
  'tag',
  'mode',
  'max-buffer-size',
];

/** Throws `invalidParameter` for a driver or an option that Isle does not have. */
export function parseLogOptions({ driver, options }: LogConfig): LogLimits {
  if (!drivers.includes(driver))
    throw isleError('invalidParameter', {
      message: `logger: no log driver named '${driver}' is registered (there are: ${drivers.join(', ')})`,
    });
  for (const key of Object.keys(options))
    if (!known.includes(key))
      throw isleError('invalidParameter', {
        message: `unknown log opt '${key}' for ${driver} log driver${didYouMean(key, known)}`,
      });
  const local = driver === 'local';
  const maxSize = options['max-size'] ?? (local ? '20m' : undefined);
  const maxFile = options['max-file'] ?? (local ? '5' : '1');
  if (!/^[1-9]\d{0,3}$/.test(maxFile))
    throw isleError('invalidParameter', { message: `invalid max-file "${maxFile}": must be 1 or more` });
  if (maxSize === undefined || maxSize === '-1') return { maxFile: Number(maxFile) };
  const bytes = parseBytes(maxSize);
  if (bytes <= 0) throw isleError('invalidParameter', { message: `invalid max-size "${maxSize}"` });
  return { maxSize: bytes, maxFile: Number(maxFile) };
}
