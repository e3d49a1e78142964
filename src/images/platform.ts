import { isleError } from '../lib/errors.ts';
import { didYouMean } from '../lib/suggest.ts';

/** An operating system and CPU, in Go's names. */
export interface Platform {
  os: string;
  architecture: string;
  variant?: string;
}

const aliases: Record<string, [architecture: string, variant?: string]> = {
  x86_64: ['amd64'],
  'x86-64': ['amd64'],
  aarch64: ['arm64'],
  i386: ['386'],
  armhf: ['arm', 'v7'],
  armel: ['arm', 'v6'],
};

/** Parses `os/architecture[/variant]`, `os` or `architecture` alone. Throws `invalidParameter`. */
export function parsePlatform(text: string): Platform {
  const parts = text.toLowerCase().split('/');
  if (parts.length > 3 || parts.some((part) => !/^[a-z0-9][a-z0-9_.-]{0,39}$/.test(part)))
    throw isleError('invalidParameter', {
      message: `"${text.slice(0, 100)}" is not a platform: write os/architecture[/variant], for example linux/arm64`,
    });
  const [first = '', second, variant] = parts;
  if (second !== undefined) return normalize({ os: first, architecture: second, variant });
  const isOs = ['linux', 'windows', 'darwin', 'freebsd'].includes(first);
  return normalize(isOs ? { ...hostPlatform(), os: first } : { os: 'linux', architecture: first });
}

/** Go's names of what Linux runs on (`go tool dist list`). */
const linuxArchitectures = [
  ['386', 'amd64', 'arm', 'arm64', 'loong64', 'ppc64', 'ppc64le', 'riscv64', 's390x'],
  ['mips', 'mipsle', 'mips64', 'mips64le'],
].flat();

/** {@link parsePlatform} of an image to be made: one that nothing could ever run is refused too. */
export function parseImagePlatform(text: string): Platform {
  const platform = parsePlatform(text);
  const { os, architecture } = platform;
  if (os !== 'linux')
    throw isleError('invalidParameter', {
      message: `operating system "${os}" is not supported: images here are for linux`,
    });
  if (!linuxArchitectures.includes(architecture))
    throw isleError('invalidParameter', {
      message: `"${architecture}" is no architecture of Linux${didYouMean(architecture, linuxArchitectures)}: one of ${linuxArchitectures.join(', ')}`,
    });
  return platform;
}

/** The platform images for this machine have. */
export function hostPlatform(): Platform {
  const names: Partial<Record<NodeJS.Architecture, string>> = { x64: 'amd64', ia32: '386' };
  return normalize({ os: 'linux', architecture: names[process.arch] ?? process.arch });
}

export function formatPlatform(platform: Platform): string {
  return [platform.os, platform.architecture, platform.variant].filter(Boolean).join('/');
}

/**
 * Picks what runs best on `wanted`: the same variant, else the next lower one that the CPU also runs
 * (containerd's `platforms.Only`: an arm/v7 CPU runs v6 and v5, an amd64 one 386, an arm64 one arm).
 */
export function choosePlatform<T extends { platform?: Platform }>(
  entries: readonly T[],
  wanted: Platform,
): T | undefined {
  for (const candidate of runnable(normalize(wanted))) {
    const key = formatPlatform(candidate);
    const found = entries.find(
      (entry) => entry.platform && formatPlatform(normalize(entry.platform)) === key,
    );
    if (found) return found;
  }
  return undefined;
}

/** True when an image for `actual` is one that `wanted` asks for. */
export function satisfiesPlatform(actual: Platform, wanted: Platform): boolean {
  return choosePlatform([{ platform: actual }], wanted) !== undefined;
}

/** One spelling per platform: the usual variant of an architecture is left out, except for arm (v7). */
function normalize(platform: Platform): Platform {
  const [architecture, implied] = aliases[platform.architecture] ?? [platform.architecture];
  const given = platform.variant?.replace(/^(\d)/, 'v$1') || implied;
  const variant = architecture === 'arm' ? (given ?? 'v7') : given;
  const usual =
    (architecture === 'arm64' && variant === 'v8') || (architecture === 'amd64' && variant === 'v1');
  return { os: platform.os, architecture, ...(variant && !usual ? { variant } : {}) };
}

function runnable(wanted: Platform): Platform[] {
  const { os, architecture, variant } = wanted;
  const level = Number(variant?.replace(/^v/, '') ?? (architecture === 'amd64' ? 1 : 8));
  const down = (name: string, from: number, to: number): Platform[] =>
    Array.from({ length: Math.max(0, from - to + 1) }, (_, i) =>
      normalize({ os, architecture: name, variant: `v${from - i}` }),
    );
  if (!Number.isInteger(level) || level > 20) return [wanted];
  if (architecture === 'amd64') return [...down('amd64', level, 1), { os, architecture: '386' }];
  if (architecture === 'arm64') return [wanted, ...down('arm64', level, 8), ...down('arm', 8, 5)];
  if (architecture === 'arm') return down('arm', level, 5);
  return [wanted];
}
