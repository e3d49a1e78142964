import type { Qmp } from '../../host/qmp/qmp.ts';
import type { MachineHardware } from '../../engine/machine.ts';
import type { MachineLink } from './record.ts';

/**
 * A machine whose QEMU runs, as the files in `control/` need it: each of them is one thing that can be done with it (a
 * function of a LiveMachine), and none of them knows how it is confined.
 *
 * Names in QEMU: a disk `vda` is the device `vda` over the block node `disk-vda` (its format) over `file-vda`; `nvram` is
 * the UEFI variables' node; a network card is the device `net0` on the netdev `tap0`; a CD is the device and node of its target.
 */
export interface LiveMachine {
  readonly id: string;
  /** As it is now, what was plugged included. */
  readonly hardware: MachineHardware;
  /** One connection for short commands, kept. */
  qmp(): Promise<Qmp>;
  /** A connection of its own for a long job; closed by the caller. */
  ownQmp(): Promise<Qmp>;
  /**
   * Makes a file of the host visible to its QEMU while it runs, with owners that suit it, and says by which path. Again
   * for the same file: the same answer. The directory `hardware.directory` is visible as a whole, always: see {@link pathOf}.
   */
  expose(path: string, options: { write: boolean }): Promise<string>;
  withdraw(path: string): Promise<void>;
  /** Of a file below `hardware.directory`, as QEMU sees it. */
  pathOf(path: string): string;
  /** Remembers that the hardware is another one now (over restarts of the daemon). */
  changeHardware(change: (hardware: MachineHardware) => MachineHardware): Promise<void>;
  /** Connection to the guest agent's port; `guestAgentMissing` when the guest has none. One at a time. */
  agentSocket(): Promise<string>;
  /** Where its VNC server listens, one connection per viewer; only of a machine with graphics. */
  screenSocket(): Promise<string>;
  /**
   * For a migration on this host: starts a second QEMU in the same confinement with the present command line, `-incoming
   * defer`, the same taps and streams. `adopt` makes it the machine's QEMU (the old one has ended or is ended), `abandon` ends it.
   */
  secondMonitor(): Promise<{ qmp: Qmp; adopt(): Promise<void>; abandon(): Promise<void> }>;
}

/** One whose network cards come and go. */
export interface LinkedMachine extends LiveMachine {
  /** Its network cards, what was plugged included. */
  readonly links: readonly MachineLink[];
  /**
   * Wires the pod's interface `name` and gives its tap to QEMU as the netdev `tap<index>`. Throws `conflict` when the pod has no such
   * interface.
   */
  openTap(name: string, index: number): Promise<{ tap: string; macAddress: string; mtu: number }>;
  /** QEMU has no netdev on it any more, and nobody the tap afterwards. None is fine. */
  closeTap(name: string): Promise<void>;
  /** Remembers which cards there are now: every later QEMU of it gets their taps. */
  changeLinks(change: (links: readonly MachineLink[]) => MachineLink[]): Promise<void>;
}
