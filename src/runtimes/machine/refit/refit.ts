import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runConfined } from '../../../host/confined.ts';
import { messageOf } from '../../../lib/errors.ts';
import { sourceFiles } from '../../microvm/guest-image/prepared-image.ts';
import { helperInitramfs } from './initramfs.ts';
import { ReportReader, type RefitReport } from './report.ts';

export type { RefitReport };

export interface RefitOptions {
  /** qcow2 files of a machine that does not run, in its order; they are written. */
  disks: { path: string; size: number }[];
  /** Addresses of its cards, in their order. */
  nics: string[];
  /** For what the helper needs while it runs. */
  directory: string;
  onStep?(step: string): void;
  signal?: AbortSignal;
}

/** Changes a Linux guest on its disks so that it boots on virtio. Of what it cannot, the report says why; the disks may then be half changed. */
export type Refit = (options: RefitOptions) => Promise<RefitReport>;

/**
 * Strangers' file systems are mounted by a kernel of their own: Isle's guest kernel with a small initramfs, in a QEMU that is
 * confined as qemu-img is (nobody, no network, nothing to see but the disks), by emulation. `source`: where the guest's kernel is; throws `unavailable`
 * when there is none.
 */
export function createRefit(source: () => string): Refit {
  return async (options) => {
    const { kernel, modules } = await sourceFiles(source());
    const initrd = join(options.directory, 'refit-initrd');
    try {
      await writeFile(initrd, await helperInitramfs(modules, options.nics), { flag: 'wx', mode: 0o600 });
      return await run(options, kernel, initrd);
    } finally {
      await rm(initrd, { force: true });
    }
  };
}

const mebibyte = 2 ** 20;

async function run(options: RefitOptions, kernel: string, initrd: string): Promise<RefitReport> {
  const { disks, signal, onStep } = options;
  const reader = new ReportReader((step) => onStep?.(step));
  const inside = disks.map((_, index) => `/disks/${index}.qcow2`);
  const files = [
    { path: kernel, inside: '/refit/kernel' },
    { path: initrd, inside: '/refit/initrd' },
    ...disks.map(({ path }, index) => ({ path, inside: inside[index]!, write: true })),
  ];
  const largest = Math.max(...disks.map(({ size }) => size));
  try {
    const result = await runConfined(qemu, qemuArguments(inside), {
      files,
      memory: 6 * 1024 * mebibyte,
      // A qcow2 with everything written, its tables included.
      fileSize: Math.ceil(largest * 1.02) + 256 * mebibyte,
      cpu: 3600,
      patience: 20 * 60_000,
      onOutput: (text) => reader.push(text),
      signal,
    });
    const { report } = reader;
    if (report.done || report.why !== undefined) return report;
    return {
      ...report,
      why: `the helper ended early (${lastLine(result.stderr) || `exit code ${result.code}`})`,
    };
  } catch (error) {
    if (signal?.aborted) throw error;
    return { done: false, changed: [], why: messageOf(error) };
  }
}

const qemu = `qemu-system-${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}`;

function qemuArguments(disks: string[]): string[] {
  const arm = process.arch === 'arm64';
  return [
    ...[
      '-machine',
      arm ? 'virt,gic-version=max' : 'q35,smm=off,vmport=off',
      '-accel',
      'tcg,tb-size=128,thread=multi',
    ],
    ...['-cpu', arm ? 'max' : 'max,pku=off', '-smp', '2', '-m', '1024M'],
    ...['-nodefaults', '-no-user-config', '-display', 'none', '-no-reboot'],
    ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
    ...['-kernel', '/refit/kernel', '-initrd', '/refit/initrd'],
    ...[
      '-append',
      `console=${arm ? 'ttyAMA0' : 'ttyS0'} quiet panic=-1 reboot=t nokaslr mitigations=off init_on_alloc=0`,
    ],
    ...['-chardev', 'stdio,id=console,signal=off', '-serial', 'chardev:console'],
    ...disks.flatMap((filename, index) => [
      '-blockdev',
      JSON.stringify({
        'node-name': `disk${index}`,
        driver: 'qcow2',
        backing: null,
        discard: 'unmap',
        file: { driver: 'file', filename, discard: 'unmap' },
      }),
      '-device',
      JSON.stringify({ driver: 'virtio-blk-pci', drive: `disk${index}`, id: `vd${index}` }),
    ]),
  ];
}

function lastLine(text: string): string {
  return (text.trim().split('\n').at(-1) ?? '').replace(/[^\x20-\x7e]+/g, ' ').slice(0, 300);
}
