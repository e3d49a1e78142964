import type { IdMap } from '../../engine/runtime.ts';
import { isleError } from '../../lib/errors.ts';

/** Reads a small file of the container's root, or undefined when it has none. Must resolve inside that root. */
export type RootFileReader = (path: string) => Promise<string | undefined>;

export interface ContainerUser {
  uid: number;
  gid: number;
  additionalGids: number[];
  /** From /etc/passwd; '/' when it says nothing. */
  home: string;
}

/** Ids above this wrap in 32-bit kernels' and runtimes' arithmetic and can become root (CVE-2024-40635). */
const maxId = 0x7fff_ffff;

interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

interface GroupEntry {
  name: string;
  gid: number;
  members: string[];
}

/**
 * Looks up `user[:group]` and further groups in the root's /etc/passwd and /etc/group, as Docker does: numbers
 * need no entry, names do; without a group, the user's own and those that list the user.
 */
export async function lookUpUser(
  user: string,
  groupAdd: string[],
  read: RootFileReader,
): Promise<ContainerUser> {
  const [userPart, groupPart] = splitOnce(user);
  const [passwdText, groupText] = await Promise.all([read('/etc/passwd'), read('/etc/group')]);
  const groups = parseGroups(groupText ?? '');
  const found = findUser(userPart, parsePasswd(passwdText ?? ''));
  const result: ContainerUser = { ...found, additionalGids: [] };
  const further = new Set<number>();
  if (groupPart !== undefined && groupPart !== '') result.gid = findGroup(groupPart, groups);
  else if (found.name !== undefined)
    for (const group of groups) if (group.members.includes(found.name)) further.add(group.gid);
  for (const group of groupAdd) further.add(findGroup(group, groups));
  // The primary group belongs to the supplementary ones too, or it could be dropped to get at files that
  // deny it (CVE-2022-36109).
  result.additionalGids = [result.gid, ...[...further].filter((gid) => gid !== result.gid)];
  const { uid, gid, additionalGids, home } = result;
  return { uid, gid, additionalGids, home };
}

/** The kernel would say EINVAL, and only when the process is to start. */
export function checkMapped({ uid, gid, additionalGids }: ContainerUser, { idMap }: { idMap?: IdMap }): void {
  if (!idMap) return;
  const wrong = [uid, gid, ...additionalGids].find((id) => id >= idMap.size);
  if (wrong !== undefined)
    throw isleError('invalidParameter', {
      message: `id ${wrong} does not exist in the container's user namespace, which has ${idMap.size}: use --userns=host, or --userns=auto:size=${wrong + 1}`,
    });
}

function findUser(
  user: string,
  entries: PasswdEntry[],
): { uid: number; gid: number; home: string; name?: string } {
  const wanted = user === '' ? '0' : user;
  const byName = entries.find((entry) => entry.name === wanted);
  if (byName) return checkIds(byName);
  if (!isNumber(wanted))
    throw invalid(
      /^-\d+$/.test(wanted)
        ? `uids and gids must be in range 0-${maxId}: ${wanted}`
        : `unable to find user ${wanted}: no matching entries in passwd file`,
    );
  const uid = id(wanted);
  const byId = entries.find((entry) => entry.uid === uid);
  return byId ? checkIds(byId) : { uid, gid: 0, home: '/' };
}

function checkIds(entry: PasswdEntry): PasswdEntry {
  id(String(entry.uid));
  id(String(entry.gid));
  return entry;
}

function findGroup(group: string, entries: GroupEntry[]): number {
  const byName = entries.find((entry) => entry.name === group);
  if (byName) return id(String(byName.gid));
  if (isNumber(group)) return id(group);
  throw invalid(
    /^-\d+$/.test(group)
      ? `uids and gids must be in range 0-${maxId}: ${group}`
      : `unable to find group ${group}: no matching entries in group file`,
  );
}

function id(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0 || value > maxId)
    throw invalid(`uids and gids must be in range 0-${maxId}: ${text}`);
  return value;
}

function isNumber(text: string): boolean {
  return /^\d+$/.test(text);
}

function splitOnce(text: string): [string, string?] {
  const at = text.indexOf(':');
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

function parsePasswd(text: string): PasswdEntry[] {
  const entries: PasswdEntry[] = [];
  for (const fields of rows(text)) {
    const [name = '', , uid = '', gid = '', , home = ''] = fields;
    if (name === '' || !isNumber(uid) || !isNumber(gid)) continue;
    entries.push({ name, uid: Number(uid), gid: Number(gid), home: home.startsWith('/') ? home : '/' });
  }
  return entries;
}

function parseGroups(text: string): GroupEntry[] {
  const entries: GroupEntry[] = [];
  for (const fields of rows(text)) {
    const [name = '', , gid = '', members = ''] = fields;
    if (name === '' || !isNumber(gid)) continue;
    entries.push({ name, gid: Number(gid), members: members.split(',').map((member) => member.trim()) });
  }
  return entries;
}

function rows(text: string): string[][] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(':'));
}

function invalid(message: string) {
  return isleError('invalidParameter', { message });
}
