import { parsePlatform, type Platform } from '../platform.ts';

/** The kernel's and Debian's names where Go's, which images use, are others. */
const names: Record<string, string> = {
  i686: '386',
  i586: '386',
  armv6l: 'arm/v6',
  armv7l: 'arm/v7',
  armv8l: 'arm/v7',
  ppc64el: 'ppc64le',
  mips64el: 'mips64le',
  loongarch64: 'loong64',
};

/** The platform that LXD's and Incus' architecture names mean. Throws `invalidParameter`. */
export function platformOf(architecture: string): Platform {
  const name = architecture.toLowerCase();
  return parsePlatform(`linux/${Object.hasOwn(names, name) ? names[name]! : name}`);
}
