import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { CloudInit } from '../../engine/machine.ts';
import { isleError, messageOf } from '../../lib/errors.ts';
import { type SeedLink, seedFiles } from './cloud-init.ts';
import { isoImage } from './iso-image.ts';

/** Bytes of all files together; cloud-init's own limits are far below. */
const largestSeed = 16 << 20;

/**
 * Writes the seed of a machine's cloud-init as a CD labelled `cidata` to `path`, whole or not at all: only its owner may
 * read it, as there are password hashes in it. Throws `invalidParameter` for texts that no guest could read, and for too much.
 */
export async function writeSeed(
  path: string,
  cloudInit: CloudInit,
  links: readonly SeedLink[],
): Promise<void> {
  const image = isoImage('cidata', filesOf(cloudInit, links), new Date());
  const temporary = `${path}.new`;
  try {
    // Its monitor may write to the directory, too: nothing that stands there is followed.
    await rm(temporary, { force: true });
    await using file = await open(temporary, 'wx', 0o600);
    await file.writeFile(image);
    await file.sync();
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await using directory = await open(dirname(path));
  await directory.sync();
}

function filesOf(cloudInit: CloudInit, links: readonly SeedLink[]) {
  check(cloudInit);
  let files: Record<string, string>;
  try {
    files = seedFiles(cloudInit, links);
  } catch (cause) {
    throw isleError('invalidParameter', { message: `cloud-init: ${messageOf(cause)}` }, cause);
  }
  const list = Object.entries(files).map(([name, text]) => ({ name, content: Buffer.from(text) }));
  const bytes = list.reduce((sum, { content }) => sum + content.length, 0);
  if (bytes > largestSeed)
    throw isleError('invalidParameter', {
      message: `cloud-init: its files have ${bytes} bytes, at most ${largestSeed} are given to a guest`,
    });
  return list;
}

/** In a guest these become lines of files and of `chpasswd`'s input. */
function check({ user, passwordHash, root, sshKeys }: CloudInit): void {
  const refuse = (what: string, value: string) => {
    throw isleError('invalidParameter', { message: `cloud-init: "${value}" is not ${what}` });
  };
  if (user !== undefined && !/^[a-z_][a-z0-9_-]{0,31}$/i.test(user)) refuse("a user's name", user);
  for (const hash of [passwordHash, root?.passwordHash])
    if (hash !== undefined && !/^\$[\x21-\x39\x3b-\x7e]{5,500}$/.test(hash))
      refuse("a password's hash", hash);
  for (const key of [...sshKeys, ...(root?.sshKeys ?? [])])
    if (!/^[\w@.-]+ [^\p{Cc}]+$/u.test(key)) refuse('an SSH key', key);
}
