import type { MachineChange, MachineRequest } from '../../../engine/machines.ts';
import { isleError } from '../../../lib/errors.ts';
import { parseContainer } from '../../docker/create/parse-container.ts';
import { Fields } from '../../http/fields.ts';
import type { Query } from '../../http/query.ts';
import { parseDisk } from './parse-disk.ts';
import { parseHardware, type ParsedHardware } from './parse-hardware.ts';
import { refuseUnknown } from './unknown-fields.ts';

/** The body of `POST /isle/v1/machines`, without its name. Throws `invalidParameter`. */
export function parseMachine(body: Fields, query: Query): MachineRequest {
  refuseUnknown(body, ['Name', 'Container', 'Hardware', 'Disks']);
  const hardware = parseHardware(body.object('Hardware') ?? new Fields({}, 'Hardware'));
  const { memory, ...rest } = hardware;
  if (memory === undefined)
    throw isleError('invalidParameter', {
      message: 'Hardware.Memory: the memory of the machine is missing (bytes)',
    });
  return {
    container: parsePlace(body.object('Container') ?? new Fields({}, 'Container'), query),
    hardware: { ...defaultsFor(rest), ...withoutAbsent(rest), memory },
    disks: body.objects('Disks').map(parseDisk),
  };
}

const removable = [
  ...(['maxMemory', 'maxVcpus', 'cpuModel', 'kernel', 'cloudInit', 'osVariant', 'accelerator'] as const),
  ...(['description', 'origin'] as const),
];

/** What is named is changed; `Remove` names what shall be absent. Throws `invalidParameter`. */
export function parseMachineChange(body: Fields): MachineChange {
  const { uuid: _, arch, ...change } = parseHardware(body, ['Remove']);
  if (arch !== undefined) throw body.invalid('Arch', 'the processor of a machine cannot change');
  const gone = body.texts('Remove').map((name) => {
    const found = removable.find((known) => known.toLowerCase() === name.toLowerCase());
    if (found === undefined) throw body.invalid('Remove', `only ${removable.join(', ')} can be absent`);
    return [found, undefined] as const;
  });
  return { ...withoutAbsent(change), ...Object.fromEntries(gone) };
}

type Defaults = Pick<
  MachineRequest['hardware'],
  | 'arch'
  | 'type'
  | 'vcpus'
  | 'firmware'
  | 'tpm'
  | 'cdroms'
  | 'nicModels'
  | 'shares'
  | 'usb'
  | 'pci'
  | 'boot'
  | 'graphics'
>;

/** A console is all that a machine is sure to need. */
function defaultsFor({ arch }: Pick<ParsedHardware, 'arch'>): Defaults {
  const own = arch ?? (process.arch === 'arm64' ? 'aarch64' : 'x86_64');
  return {
    arch: own,
    type: own === 'x86_64' ? 'q35' : 'virt',
    vcpus: 1,
    firmware: own === 'aarch64' ? 'uefi' : 'bios',
    tpm: false,
    cdroms: [],
    nicModels: [],
    shares: [],
    usb: [],
    pci: [],
    boot: [],
    graphics: false,
  };
}

/** Docker's words for where it lives: names, networks, ports, limits, log, restart policy. Its console is a terminal. */
function parsePlace(fields: Fields, query: Query): MachineRequest['container'] {
  const given = Object.fromEntries(fields.names().map((name) => [name, fields.raw(name)]));
  if (given.image !== undefined)
    throw isleError('invalidParameter', {
      message: 'Container.Image: a virtual machine boots from its disks, not from an image of containers',
    });
  const console = { tty: true, openstdin: true };
  const { image: _, ...spec } = parseContainer(
    new Fields({ ...console, ...given, image: '-' }, 'Container'),
    query,
  );
  return spec;
}

function withoutAbsent<T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}
