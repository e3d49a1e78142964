import { createHash } from 'node:crypto';
import { refusal } from './refuse.ts';
import { hashOf, readAll, type ApplianceFile, type ApplianceSource } from './source.ts';

/** `SHA256(disk1.vmdk)= 0123…`, or SHA1: https://www.dmtf.org/standards/ovf (DSP0243), "Distribution". */
export type Manifest = Map<string, { algorithm: 'sha1' | 'sha256' | 'sha512'; digest: string }>;

/** Undefined when there is none. */
export async function readManifest(source: ApplianceSource, name: string): Promise<Manifest | undefined> {
  const file = await source.find(name);
  if (file === undefined) return undefined;
  return parseManifest((await readAll(file)).toString('utf8'), name);
}

export function parseManifest(text: string, where: string): Manifest {
  const manifest: Manifest = new Map();
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '') continue;
    const match = /^(SHA-?1|SHA-?256|SHA-?512)\s?\((.{1,1024})\)\s?=\s*([0-9a-fA-F]+)\s*$/i.exec(line);
    const algorithm = match?.[1]!.toLowerCase().replace('-', '') as 'sha1' | 'sha256' | 'sha512' | undefined;
    if (algorithm === undefined || match![3]!.length !== digits[algorithm])
      throw refusal(`${where}, line ${index + 1}`, `this is no checksum: "${line}"`);
    if (manifest.has(match![2]!))
      throw refusal(`${where}, line ${index + 1}`, `there are two checksums of ${match![2]}`);
    manifest.set(match![2]!, { algorithm, digest: match![3]!.toLowerCase() });
  }
  return manifest;
}

const digits = { sha1: 40, sha256: 64, sha512: 128 };

/** A manifest covers every file of its package, or it would say nothing about those that it leaves out. */
export async function checkFile(
  manifest: Manifest | undefined,
  file: ApplianceFile,
  signal?: AbortSignal,
): Promise<void> {
  const expected = manifest && expectedOf(manifest, file.name);
  if (expected) checkDigest(file.name, expected, await hashOf(file, expected.algorithm, signal));
}

/** The same of a file that has been read. */
export function checkContent(manifest: Manifest | undefined, name: string, content: Buffer): void {
  const expected = manifest && expectedOf(manifest, name);
  if (expected) checkDigest(name, expected, createHash(expected.algorithm).update(content).digest('hex'));
}

type Expected = { algorithm: string; digest: string };

export function expectedOf(manifest: Manifest, name: string): Expected {
  const expected = manifest.get(name);
  if (expected === undefined) throw refusal(name, 'the manifest has no checksum of it');
  return expected;
}

export function checkDigest(name: string, expected: Expected, actual: string): void {
  if (actual === expected.digest) return;
  throw refusal(
    name,
    `its ${expected.algorithm.toUpperCase()} is ${actual}, the manifest says ${expected.digest}: it was damaged or tampered with`,
  );
}
