import { readFile } from 'node:fs/promises';
import { isleError, messageOf } from '../../lib/errors.ts';

/** unshare(2) with nothing but CLONE_FS, which C virtiofsd does in each thread, is no new namespace. */
const unshareFs = {
  names: ['unshare'],
  action: 'SCMP_ACT_ALLOW',
  args: [{ index: 0, value: 0x200, valueTwo: 0, op: 'SCMP_CMP_EQ' }],
};

/** The containers' profile and what virtiofsd needs beyond. Throws `unavailable` when it cannot be read. */
export async function monitorProfile(path: string): Promise<string> {
  try {
    const profile = JSON.parse(await readFile(path, 'utf8')) as { syscalls?: object[] };
    return JSON.stringify({ ...profile, syscalls: [...(profile.syscalls ?? []), unshareFs] });
  } catch (error) {
    throw isleError(
      'unavailable',
      { message: `cannot read the seccomp profile ${path}: ${messageOf(error)}; run isle doctor` },
      error,
    );
  }
}
