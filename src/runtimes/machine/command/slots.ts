import type { MachineSpec, ScsiController } from '../../../engine/machine.ts';
import type { Board } from '../board.ts';
import type { Node } from './blocks.ts';

/** Ports that nothing is plugged into when a machine starts: for disks and network cards to come. */
export const sparePorts = 8;

/** Root ports are functions of these slots of the root bus, eight each. */
const firstSlot = 0x10;

/**
 * Where devices go: on PCIe machines each has a root port of its own, so that it can be unplugged; with virtio-mmio there is nothing
 * to choose. Also makes the controllers that disks and CDs need.
 */
export class Slots {
  readonly devices: Node[] = [];
  #places: ReadonlyMap<string, number>;
  #used = new Set<number>();
  #sata = 0;
  #ide = 0;
  #scsi = 0;
  #foreign = new Map<ScsiController, number>();
  #mmio: boolean;

  /** `board`: where another QEMU has them. */
  constructor(spec: Pick<MachineSpec, 'type'>, board?: Pick<Board, 'places'>) {
    this.#mmio = spec.type === 'microvm';
    this.#places = new Map(Object.entries(board?.places ?? {}));
  }

  /** The driver of a virtio device, its id and its bus. */
  virtio(kind: string, id: string): Node {
    return this.#mmio ? { driver: `${kind}-device`, id } : { driver: `${kind}-pci`, id, bus: this.port(id) };
  }

  /** The root port of a device: the next, if it has none yet. */
  port(id: string): string {
    const place = this.#places.get(id) ?? this.#nextFree();
    this.#used.add(place);
    return `port${place}`;
  }

  #nextFree(): number {
    const taken = new Set([...this.#places.values(), ...this.#used]);
    let place = 0;
    while (taken.has(place)) place++;
    return place;
  }

  /** How many ports there have to be for what was placed so far. */
  get portsUsed(): number {
    return Math.max(-1, ...this.#used) + 1;
  }

  /** All of them, so that each is where it was. */
  static ports(count: number): Node[] {
    return Array.from({ length: count }, (_, index) => ({
      driver: 'pcie-root-port',
      id: `port${index}`,
      bus: 'pcie.0',
      chassis: index + 1,
      addr: `${(firstSlot + Math.floor(index / 8)).toString(16)}.${index % 8}`,
      ...(index % 8 === 0 ? { multifunction: true } : {}),
    }));
  }

  /** The q35's own six, then further controllers. */
  sata(): { bus: string } {
    const index = this.#sata++;
    const controller = Math.floor(index / 6);
    if (controller > 0 && index % 6 === 0)
      this.devices.push({ driver: 'ich9-ahci', id: `sata${controller}`, bus: 'pcie.0' });
    return { bus: `${controller === 0 ? 'ide' : `sata${controller}`}.${index % 6}` };
  }

  ide(): { bus: string; unit: number } {
    const index = this.#ide++;
    const controller = Math.floor(index / 4);
    if (index % 4 === 0) this.devices.push({ driver: 'piix3-ide', id: `pata${controller}`, bus: 'pcie.0' });
    return { bus: `pata${controller}.${Math.floor((index % 4) / 2)}`, unit: index % 2 };
  }

  /** Of a virtio controller, or of one that the guest knows from elsewhere: as many of them as its disks need. */
  scsi(controller?: ScsiController): { bus: string; 'scsi-id': number } {
    if (controller === undefined) {
      if (this.#scsi === 0) this.devices.push(this.virtio('virtio-scsi', 'scsi'));
      return { bus: 'scsi.0', 'scsi-id': this.#scsi++ };
    }
    const index = this.#foreign.get(controller) ?? 0;
    this.#foreign.set(controller, index + 1);
    const most = targets[controller];
    const id = `${controller}-${Math.floor(index / most)}`;
    if (index % most === 0) this.devices.push({ driver: controller, id, bus: this.port(id) });
    return { bus: `${id}.0`, 'scsi-id': index % most };
  }
}

/** Disks on each: the LSI's own id is 7, the SAS controller has 8 ports. */
const targets: Record<ScsiController, number> = { lsi53c895a: 7, mptsas1068: 8, megasas: 16, pvscsi: 16 };
