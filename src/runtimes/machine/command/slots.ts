import type { MachineSpec, ScsiController } from '../../../engine/machine.ts';
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
  #ports = 0;
  #sata = 0;
  #ide = 0;
  #scsi = 0;
  #foreign = new Map<ScsiController, number>();
  #mmio: boolean;

  constructor(spec: Pick<MachineSpec, 'type'>) {
    this.#mmio = spec.type === 'microvm';
  }

  /** The driver of a virtio device and its bus. */
  virtio(kind: string): Node {
    return this.#mmio ? { driver: `${kind}-device` } : { driver: `${kind}-pci`, bus: this.port() };
  }

  /** A further root port. */
  port(): string {
    const index = this.#ports++;
    const id = `port${index}`;
    const slot = (firstSlot + Math.floor(index / 8)).toString(16);
    this.devices.push({
      driver: 'pcie-root-port',
      id,
      bus: 'pcie.0',
      chassis: index + 1,
      addr: `${slot}.${index % 8}`,
      ...(index % 8 === 0 ? { multifunction: true } : {}),
    });
    return id;
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
      if (this.#scsi === 0) this.devices.push({ ...this.virtio('virtio-scsi'), id: 'scsi' });
      return { bus: 'scsi.0', 'scsi-id': this.#scsi++ };
    }
    const index = this.#foreign.get(controller) ?? 0;
    this.#foreign.set(controller, index + 1);
    const most = targets[controller];
    const id = `${controller}-${Math.floor(index / most)}`;
    if (index % most === 0) this.devices.push({ driver: controller, id, bus: this.port() });
    return { bus: `${id}.0`, 'scsi-id': index % most };
  }
}

/** Disks on each: the LSI's own id is 7, the SAS controller has 8 ports. */
const targets: Record<ScsiController, number> = { lsi53c895a: 7, mptsas1068: 8, megasas: 16, pvscsi: 16 };
