import type { MachineDisk, MachineSpec } from '../../engine/machine.ts';
import { didYouMean } from '../../lib/suggest.ts';
import { Failure } from '../failure.ts';

/** What a guest's system needs, where the user says nothing else. */
export interface OsDefaults {
  bus: MachineDisk['bus'];
  nicModel: string;
  firmware: MachineSpec['firmware'];
  tpm: boolean;
  /** bytes */
  memory: number;
  vcpus: number;
  /** Of a disk for an installation, bytes. */
  diskSize: number;
  /** Its images read cloud-init's seeds. */
  cloudInit: boolean;
}

const gibibyte = 1024 ** 3;

const modern: OsDefaults = {
  bus: 'virtio',
  nicModel: 'virtio',
  firmware: 'bios',
  tpm: false,
  memory: 1 * gibibyte,
  vcpus: 2,
  diskSize: 20 * gibibyte,
  cloudInit: true,
};
/** Systems without drivers for virtio. */
const old: OsDefaults = {
  ...modern,
  bus: 'ide',
  nicModel: 'e1000',
  memory: gibibyte / 2,
  vcpus: 1,
  cloudInit: false,
};
const unix: OsDefaults = { ...modern, cloudInit: false };
/** Windows' setup knows AHCI and Intel's cards; virtio comes with its drivers. */
const windows: OsDefaults = {
  ...modern,
  bus: 'sata',
  nicModel: 'e1000e',
  firmware: 'uefi',
  memory: 4 * gibibyte,
  diskSize: 64 * gibibyte,
  cloudInit: false,
};
const windows11: OsDefaults = { ...windows, firmware: 'uefi-secure', tpm: true };

/** By osinfo-db's short names: https://gitlab.com/libosinfo/osinfo-db. The first that matches counts. */
const families: readonly [pattern: RegExp, defaults: OsDefaults, ...examples: string[]][] = [
  [/^(generic|none|unknown|linux20\d\d|linux|detect)$/, modern, 'generic', 'linux2022'],
  [/^debian([1-6])$/, old],
  [/^debian(\d+|testing|sid)$/, modern, 'debian11', 'debian12', 'debian13'],
  [/^ubuntu([4-9]|1[01])\.\d\d$/, old],
  [/^ubuntu[\w.-]*$/, modern, 'ubuntu20.04', 'ubuntu22.04', 'ubuntu24.04', 'ubuntu24.10'],
  [/^rhel[2-4](\.\d+)?$/, old],
  [
    /^(rhel|centos|centos-stream|almalinux|rocky|ol|oraclelinux|scientificlinux|sl|circle|eurolinux)-?[\d.]+$/,
    modern,
    'rhel9.4',
    'rhel10.0',
    'centos-stream9',
    'almalinux9',
    'rocky9',
    'ol9.4',
  ],
  [/^(rhel|centos-stream|almalinux|rocky|ol)\d*-unknown$/, modern],
  [/^fedora(\d+|-coreos\w*|-unknown|-rawhide)?$/, modern, 'fedora41', 'fedora42'],
  [
    /^(opensuse|opensusetumbleweed|opensuseleap|sles|sled|sle|slem|suse|caasp|microos)[\w.-]*$/,
    modern,
    'opensuse15.6',
    'opensusetumbleweed',
    'sles15sp6',
  ],
  [
    /^(archlinux|alpinelinux[\d.]*|gentoo|nixos[\w.-]*|voidlinux|mageia\d+|manjaro|cirros[\d.]*|altlinux[\w.-]*|alt\.[\w.]+|asianux[\w.]+|popos\d+\.\d+|linuxmint[\d.]*|kali\w*|guix[\w.-]*|endless\w*|trisquel[\d.]*|slackware[\d.]*|openwrt[\d.]*|haikur1\w*|haikunightly|clearlinux\w*|flatcar\w*|talos\w*|photon\w*|amazonlinux\d*|al\d{4}|bottlerocket)$/,
    modern,
    'archlinux',
    'alpinelinux3.20',
    'nixos-24.05',
    'cirros0.6.2',
  ],
  [
    /^(freebsd|openbsd|netbsd|dragonflybsd|hardenedbsd|pfsense|opnsense)[\w.-]*$/,
    unix,
    'freebsd14.0',
    'openbsd7.5',
    'netbsd9.0',
  ],
  [/^(win11|win12|win2k22|win2k25)$/, windows11, 'win11', 'win2k22', 'win2k25'],
  [/^(win8|win8\.1|win10|win2k12|win2k12r2|win2k16|win2k19)$/, windows, 'win10', 'win2k19'],
  [
    /^(win7|winvista|win2k8|win2k8r2)$/,
    { ...windows, firmware: 'bios', nicModel: 'e1000', memory: 2 * gibibyte },
    'win7',
  ],
  [/^(win\w+|msdos[\d.]+|freedos[\d.]+)$/, { ...old, nicModel: 'rtl8139' }, 'winxp'],
  [
    /^(solaris\w*|opensolaris\w*|openindiana|omnios\w*|smartos\w*|illumos\w*|netware\w*|macosx[\d.]*|macos[\w.]*)$/,
    { ...unix, bus: 'sata', nicModel: 'e1000' },
    'openindiana',
  ],
];

/** Names for completion. */
export const osVariants: readonly string[] = families.flatMap(([, , ...examples]) => examples);

export function osDefaults(variant: string | undefined): OsDefaults {
  if (variant === undefined) return modern;
  const found = families.find(([pattern]) => pattern.test(variant));
  if (found) return found[1];
  throw new Failure(
    `unknown --os-variant "${variant}"${didYouMean(variant, osVariants)}: take a short name of osinfo-db such as debian12, or generic`,
  );
}

/** `--os-variant debian12`, `--osinfo detect=on,name=debian12`. Undefined: nothing said. */
export function parseOsVariant(given: string): string | undefined {
  const words = given.split(',');
  const named = words.map((word) => /^(?:name|short-id|id)=(.+)$/.exec(word)?.[1]).find(Boolean);
  const name = named ?? words.find((word) => !word.includes('='));
  if (name === undefined) return undefined;
  const short = name.toLowerCase();
  osDefaults(short);
  return /^(none|detect|unknown)$/.test(short) ? undefined : short;
}
