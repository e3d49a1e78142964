import { runConfined } from '../../host/confined.ts';
import { isleError } from '../../lib/errors.ts';

export interface FileDigest {
  algorithm: 'sha256' | 'sha512';
  hex: string;
}

/** Of `sha256:…` or `sha512:…`. Throws `invalidParameter`. */
export function parseDigest(text: string): FileDigest {
  const [, algorithm, hex = ''] = /^(sha256|sha512):([0-9a-fA-F]+)$/.exec(text) ?? [];
  if ((algorithm === 'sha256' && hex.length === 64) || (algorithm === 'sha512' && hex.length === 128))
    return { algorithm, hex: hex.toLowerCase() };
  throw isleError('invalidParameter', {
    message: `${JSON.stringify(text.slice(0, 200))} is no digest: give sha256: and 64 or sha512: and 128 hexadecimal digits`,
  });
}

/** Milliseconds, seconds of CPU: a program that reads a disk says nothing until its end. */
const patience = 24 * 3600_000;
const cpu = 24 * 3600;

/** Reads the file in a process of its own. Throws `digestMismatch`. */
export async function checkDigest(path: string, digest: FileDigest, signal?: AbortSignal): Promise<void> {
  const tool = `${digest.algorithm}sum`;
  const result = await runConfined(tool, ['/source'], {
    files: [{ path, inside: '/source' }],
    patience,
    cpu,
    ...(signal && { signal }),
  });
  if (result.code !== 0) throw isleError('hostTool', { tool, message: result.stderr.trim().slice(-300) });
  const actual = result.stdout.split(' ')[0] ?? '';
  if (actual !== digest.hex)
    throw isleError('digestMismatch', {
      what: 'the disk image',
      expected: `${digest.algorithm}:${digest.hex}`,
      actual: `${digest.algorithm}:${actual}`,
    });
}
