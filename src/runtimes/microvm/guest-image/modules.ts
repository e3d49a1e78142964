import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { errnoOf } from '../../../lib/errors.ts';
import { elfSections, emptySection } from '../../../lib/elf.ts';
import { unpackFile } from './kernel-image.ts';

/** A module that the guest's init loads when it is asked for `class`: see native/guest/modules.c. */
export interface GuestModule {
  class: string;
  /** Name of its file in the initramfs. */
  file: string;
  data: Buffer;
}

export interface WantedModules {
  class: string;
  modules: string[];
  /** One that is missing is left out. */
  optional?: boolean;
}

/** What a guest's devices need, in the order of loading: the buses, the agent's port, the root, the rest. */
const guestDevices: WantedModules[] = [
  { class: 'mmio', modules: ['virtio_mmio'] },
  { class: 'pci', modules: ['virtio_pci'] },
  { class: 'console', modules: ['virtio_console'] },
  { class: 'fs', modules: ['virtiofs'] },
  { class: 'net', modules: ['virtio_net'] },
  { class: 'rng', modules: ['virtio_rng'] },
  { class: 'balloon', modules: ['virtio_balloon'] },
];

/**
 * The modules out of `directory` (a kernel's /lib/modules/VERSION), each after those it depends on. One that two classes need
 * comes in both: a guest loads it for the first. Throws when one is neither there nor built in.
 */
export async function selectModules(
  directory: string,
  wanted: readonly WantedModules[] = guestDevices,
): Promise<GuestModule[]> {
  const files = await moduleFiles(directory);
  const builtIn = new Set(
    (await linesOf(join(directory, 'modules.builtin'))).map((line) => moduleName(basename(line))),
  );
  const loaded = new Map<string, Module>();
  const load = async (name: string): Promise<Module | undefined> => {
    const path = files.get(name);
    if (path === undefined && builtIn.has(name)) return undefined;
    if (path === undefined) throw new Error(`its module ${name} is missing`);
    const known = loaded.get(name) ?? (await readModule(name, path));
    loaded.set(name, known);
    return known;
  };
  const selected: GuestModule[] = [];
  for (const { class: of, modules, optional } of wanted) {
    const order: Module[] = [];
    for (const name of modules) if (!optional || files.has(name)) await collect(name, load, order, []);
    selected.push(...order.map(({ name, data }) => ({ class: of, file: `${name}.ko`, data })));
  }
  return selected;
}

interface Module {
  name: string;
  data: Buffer;
  depends: string[];
}

async function collect(
  name: string,
  load: (name: string) => Promise<Module | undefined>,
  order: Module[],
  path: string[],
): Promise<void> {
  if (path.includes(name)) throw new Error(`its module ${name} depends on itself`);
  const module = await load(name);
  if (!module || order.includes(module)) return;
  for (const below of module.depends) await collect(below, load, order, [...path, name]);
  order.push(module);
}

async function readModule(name: string, path: string): Promise<Module> {
  try {
    const data = slimmed(await unpackFile(await readFile(path)));
    return { name, data, depends: dependencies(data) };
  } catch (error) {
    throw new Error(`its module ${path} cannot be read: ${String(error)}`, { cause: error });
  }
}

function dependencies(data: Buffer): string[] {
  const info = elfSections(data).find(({ name }) => name === '.modinfo');
  if (!info) return [];
  const line = data
    .toString('latin1', info.offset, info.offset + info.size)
    .split('\0')
    .find((text) => text.startsWith('depends='));
  return (line?.slice('depends='.length) ?? '')
    .split(',')
    .filter((name) => name !== '')
    .map(moduleName);
}

const signatureMark = Buffer.from('~Module signature appended~\n');

/**
 * Without its signature and its types for BPF: checking the one and indexing the other takes a guest longer than all the rest
 * of loading. The kernel and its modules come from one package, and whoever could change one could change the other.
 */
function slimmed(module: Buffer): Buffer {
  const data = Buffer.from(withoutSignature(module));
  const types = elfSections(data).find(({ name }) => name === '.BTF');
  if (types) emptySection(data, types);
  return data;
}

/** `struct module_signature` of the kernel is 12 bytes, its last four the size of the signature before it. */
function withoutSignature(module: Buffer): Buffer {
  const end = module.length - signatureMark.length;
  if (end < 12 || !module.subarray(end).equals(signatureMark)) return module;
  const size = module.readUInt32BE(end - 4);
  return size + 12 <= end ? module.subarray(0, end - 12 - size) : module;
}

/** By name: files have dashes where names have underscores, or not. */
async function moduleFiles(directory: string): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true }))
    if (entry.isFile() && /\.ko(\.(xz|zst|gz))?$/.test(entry.name))
      files.set(moduleName(entry.name), join(entry.parentPath, entry.name));
  return files;
}

function moduleName(file: string): string {
  return file.replace(/\.ko(\.\w+)?$/, '').replaceAll('-', '_');
}

async function linesOf(path: string): Promise<string[]> {
  try {
    return (await readFile(path, 'utf8')).split('\n').filter((line) => line !== '');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}
