export interface CopyOptions {
  archive: boolean;
  followLink: boolean;
  quiet: boolean;
}

/** `container:path`, or a path here; one that starts with `/` or `.` is always here, whatever colons it holds. */
export function parseEnd(given: string): { container?: string; path: string } {
  if (/^[/.]/.test(given)) return { path: given };
  const colon = given.indexOf(':');
  if (colon <= 0) return { path: given };
  return { container: given.slice(0, colon), path: given.slice(colon + 1) };
}

/** What `X-Docker-Container-Path-Stat` says. */
export interface PathStat {
  name: string;
  size: number;
  /** Go's os.FileMode. */
  mode: number;
  mtime: string;
  linkTarget: string;
}

const goDirectory = 2 ** 31;
const goSymlink = 2 ** 27;

export const isDirectory = (stat: PathStat) => Math.floor(stat.mode / goDirectory) % 2 === 1;
export const isSymlink = (stat: PathStat) => Math.floor(stat.mode / goSymlink) % 2 === 1;
export const permissions = (stat: PathStat) => stat.mode & 0o777;

export function decodeStat(header: string | string[] | undefined): PathStat | undefined {
  if (typeof header !== 'string') return undefined;
  return JSON.parse(Buffer.from(header, 'base64').toString()) as PathStat;
}

/** `/dir/.`: the content, not the directory. */
export function meansContent(path: string): boolean {
  return path === '.' || /(^|\/)\.\/*$/.test(path);
}

export function endsWithSeparator(path: string): boolean {
  return path.endsWith('/');
}
