import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/** The directory `path`, or its nearest parent that exists: the data root may not have been made yet. */
export async function nearestDirectory(path: string): Promise<string> {
  for (let at = path; ; at = dirname(at)) {
    try {
      if ((await stat(at)).isDirectory()) return at;
    } catch (error) {
      if (at === dirname(at)) throw error;
    }
  }
}
