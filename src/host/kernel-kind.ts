import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { hasPvhEntry, isElf } from '../lib/elf.ts';
import { errnoOf, isIsleError, isleError } from '../lib/errors.ts';

/**
 * How QEMU can start a kernel of the user's: `linux` by Linux's boot protocol, `pvh` by its PVH entry (OSv, Nanos,
 * Unikraft, Linux's own vmlinux), `multiboot` (Unikraft of old, most hobby kernels), which needs a machine with a BIOS.
 */
export type KernelKind = 'linux' | 'pvh' | 'multiboot';

/** QEMU looks for a Multiboot header here and no further. */
const multibootRange = 8192;
const multibootMagic = 0x1badb002;

/** Larger ones are no kernels. */
const largestKernel = 512 * 1024 * 1024;

/** Throws `invalidParameter` for a file that is none of them. */
export async function kernelKind(path: string): Promise<KernelKind> {
  const data = await read(path);
  if (isLinux(data)) return 'linux';
  if (hasPvhEntry(data)) return 'pvh';
  if (hasMultiboot(data.subarray(0, multibootRange))) return 'multiboot';
  const what = isElf(data)
    ? 'it is an ELF file without a PVH entry or a Multiboot header'
    : 'it is neither ELF, nor Multiboot, nor Linux';
  throw unbootable(path, what);
}

async function read(path: string): Promise<Buffer> {
  try {
    // Whatever the path leads to must not make this wait: a FIFO would.
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const info = await file.stat();
    if (!info.isFile()) throw unbootable(path, 'it is not a file');
    if (info.size > largestKernel) throw unbootable(path, `it has ${info.size} bytes`);
    return await file.readFile();
  } catch (error) {
    if (isIsleError(error)) throw error;
    const code = errnoOf(error);
    throw unbootable(path, code === 'ENOENT' ? 'there is no such file' : `it cannot be read: ${code}`, error);
  }
}

function unbootable(path: string, what: string, cause?: unknown) {
  return isleError('invalidParameter', { message: `cannot boot the kernel ${path}: ${what}` }, cause);
}

/** The setup header of a bzImage, or arm64's Image: https://docs.kernel.org/arch/x86/boot.html, /arch/arm64/booting.html */
function isLinux(data: Buffer): boolean {
  if (data.length < 0x264) return false;
  return (
    data.toString('latin1', 0x202, 0x206) === 'HdrS' || data.toString('latin1', 0x38, 0x3c) === 'ARM\x64'
  );
}

/** Three words whose sum is zero: https://www.gnu.org/software/grub/manual/multiboot/multiboot.html */
function hasMultiboot(data: Buffer): boolean {
  for (let at = 0; at + 12 <= data.length; at += 4) {
    if (data.readUInt32LE(at) !== multibootMagic) continue;
    const sum = multibootMagic + data.readUInt32LE(at + 4) + data.readUInt32LE(at + 8);
    if (sum % 2 ** 32 === 0) return true;
  }
  return false;
}
