import { parse, stringify } from 'yaml';
import { formatBinaryBytes, parseBytes } from '../../lib/units.ts';
import { didYouMean } from '../../lib/suggest.ts';
import { messageOf } from '../../lib/errors.ts';
import type { MachineHardwareBody } from '../client/machine-types.ts';
import { Failure } from '../failure.ts';

/** What may be changed, in the order in which it is shown. */
const editable = [
  ...(['Description', 'OsVariant', 'Memory', 'MaxMemory', 'Vcpus', 'MaxVcpus', 'CpuModel', 'Type'] as const),
  ...([
    'Firmware',
    'Tpm',
    'Graphics',
    'Accelerator',
    'Boot',
    'Kernel',
    'Cdroms',
    'NicModels',
    'Shares',
  ] as const),
  ...(['Usb', 'Pci'] as const),
] satisfies (keyof MachineHardwareBody)[];

export type Edited = Partial<Pick<MachineHardwareBody, (typeof editable)[number]>>;

/** A machine's hardware as YAML for people. */
export function toText(name: string, hardware: MachineHardwareBody): string {
  const head = [
    `# The machine ${name}. Lines that are taken away take the thing away; nothing changed changes nothing.`,
    '# A running machine has most of it at its next start. Disks and networks have commands of their own:',
    '# isle vm attach-disk, detach-disk, attach-interface, detach-interface; sizes: 2GiB, 512MiB.',
    '',
  ];
  const fields = Object.fromEntries(
    editable.filter((field) => hardware[field] !== undefined).map((field) => [field, shown(field, hardware)]),
  );
  return `${head.join('\n')}${stringify(fields, { lineWidth: 0 })}`;
}

function shown(field: (typeof editable)[number], hardware: MachineHardwareBody): unknown {
  const value = hardware[field];
  if (!isSize(field) || typeof value !== 'number') return value;
  const words = formatBinaryBytes(value);
  return parseBytes(words) === value ? words : value;
}

const isSize = (field: string) => field === 'Memory' || field === 'MaxMemory';

/** What the text changes: fields with their new values, and `Remove`. Undefined: nothing. */
export function changeIn(
  text: string,
  before: MachineHardwareBody,
): (Edited & { Remove?: string[] }) | undefined {
  const after = read(text);
  const change: Record<string, unknown> = {};
  const gone: string[] = [];
  for (const field of editable) {
    const value = after[field];
    if (value === undefined || value === null) {
      if (before[field] === undefined) continue;
      if (Array.isArray(before[field])) change[field] = [];
      else gone.push(field);
    } else if (JSON.stringify(value) !== JSON.stringify(before[field])) change[field] = value;
  }
  if (gone.length > 0) change.Remove = gone;
  return Object.keys(change).length === 0 ? undefined : (change as Edited);
}

function read(text: string): Record<string, unknown> {
  let data: unknown;
  try {
    data = parse(text, { maxAliasCount: 0 });
  } catch (cause) {
    throw new Failure(`this is no YAML: ${messageOf(cause)}`, { cause });
  }
  if (data === null || data === undefined) return {};
  if (typeof data !== 'object' || Array.isArray(data))
    throw new Failure('this is no list of fields: NAME: value');
  const fields = Object.entries(data);
  for (const [name] of fields)
    if (!(editable as readonly string[]).includes(name))
      throw new Failure(`unknown field ${name}${didYouMean(name, editable)}`);
  return Object.fromEntries(
    fields.map(([name, value]) => [name, isSize(name) ? sizeOf(name, value) : value]),
  );
}

function sizeOf(name: string, value: unknown): unknown {
  if (typeof value !== 'string') return value;
  try {
    return parseBytes(value);
  } catch (cause) {
    throw new Failure(`${name}: ${messageOf(cause)}`, { cause });
  }
}
