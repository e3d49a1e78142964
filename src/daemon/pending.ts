import type { ReadLog } from '../engine/faces.ts';
import { isleError } from '../lib/errors.ts';

/** Another room is about to land this part: until then it says so. */
export const pendingLogs: ReadLog = () => {
  throw isleError('notImplemented', { what: 'reading logs' });
};
