import type { Engine } from '../../../engine/engine.ts';
import type { MachineDisk, MachineInfo, MachineSpec } from '../../../engine/machine.ts';
import type { Machines } from '../../../engine/machines.ts';
import { statusText } from '../../docker/render-container-summary.ts';

type Machine = ReturnType<Machines['get']>;

/** One of `GET /isle/v1/machines`. */
export function renderSummary(machine: Machine, { containers }: Pick<Engine, 'containers'>): object {
  const { id, name, state, spec, labels, createdAt } = machine;
  const { memory, vcpus, arch, osVariant, saved } = spec.machine;
  return {
    Id: id,
    Name: name,
    CreatedAt: createdAt,
    State: state.phase,
    Status: saved && state.phase !== 'running' ? 'Saved' : statusText(state, Date.now()),
    Saved: saved ?? false,
    Memory: memory,
    Vcpus: vcpus,
    Arch: arch,
    ...(osVariant !== undefined && { OsVariant: osVariant }),
    Autostart: containers.startsWithEngine(id),
    Addresses: addressesOf(containers.attachment(id)),
    Disks: spec.machine.disks.length,
    Snapshots: spec.machine.snapshots.length,
    Labels: labels,
    ...(state.error !== '' && { Error: state.error }),
  };
}

function addressesOf(attachment: ReturnType<Engine['containers']['attachment']>): string[] {
  return (attachment?.endpoints ?? []).flatMap(({ ipv4, ipv6 }) => [
    ...(ipv4 ? [ipv4.address] : []),
    ...(ipv6 ? [ipv6.address] : []),
  ]);
}

/** `GET /isle/v1/machines/{id}`. `info`: of one that runs. */
export function renderMachine(
  machine: Machine,
  engine: Pick<Engine, 'containers' | 'machines'>,
  info: MachineInfo | undefined,
): object {
  const { spec, state, hostname } = machine;
  return {
    ...renderSummary(machine, engine),
    Hostname: hostname,
    Pid: state.pid,
    ExitCode: state.exitCode,
    StartedAt: state.startedAt,
    FinishedAt: state.finishedAt,
    RestartPolicy: spec.restartPolicy.name,
    Networks: engine.machines.cards(machine.id).map((card) => ({
      Network: card.network,
      Model: card.model,
      MacAddress: card.macAddress,
      Interface: card.interface,
      IPv4: card.ipv4,
      IPv6: card.ipv6,
    })),
    Hardware: renderHardware(spec.machine),
    Disks: spec.machine.disks.map(renderDisk),
    ...(spec.machine.currentSnapshot !== undefined && { CurrentSnapshot: spec.machine.currentSnapshot }),
    ...(info && { Running: renderInfo(info) }),
  };
}

/** In the words in which it is given. */
export function renderHardware(machine: MachineSpec): object {
  const { cloudInit, kernel } = machine;
  return {
    Arch: machine.arch,
    Type: machine.type,
    Memory: machine.memory,
    MaxMemory: machine.maxMemory,
    Vcpus: machine.vcpus,
    MaxVcpus: machine.maxVcpus,
    CpuModel: machine.cpuModel,
    Firmware: machine.firmware,
    Tpm: machine.tpm,
    Kernel: kernel && { Path: kernel.path, Initrd: kernel.initrd, Arguments: kernel.arguments },
    Cdroms: machine.cdroms.map(({ target, path }) => ({ Target: target, Path: path })),
    NicModels: machine.nicModels,
    Shares: machine.shares.map(({ source, tag, readOnly }) => ({
      Source: source,
      Tag: tag,
      ReadOnly: readOnly,
    })),
    Usb: machine.usb.map(({ vendor, product }) => ({ Vendor: vendor, Product: product })),
    Pci: machine.pci,
    Boot: machine.boot,
    // Nobody who may look needs the hash of the password, nor files that may hold secrets.
    CloudInit: cloudInit && {
      Hostname: cloudInit.hostname,
      SshKeys: cloudInit.sshKeys,
      User: cloudInit.user,
      InstanceId: cloudInit.instanceId,
    },
    OsVariant: machine.osVariant,
    Graphics: machine.graphics,
    Accelerator: machine.accelerator,
    Description: machine.description,
    Origin: machine.origin,
    Uuid: machine.uuid,
  };
}

export function renderDisk(disk: MachineDisk): object {
  return {
    Target: disk.target,
    Disk: disk.diskId,
    Path: disk.path,
    Format: disk.format,
    Bus: disk.bus,
    Controller: disk.controller,
    ReadOnly: disk.readOnly,
    Cache: disk.cache,
    Discard: disk.discard,
    Serial: disk.serial,
    Limits: {
      ReadBps: disk.limits.readBps,
      WriteBps: disk.limits.writeBps,
      ReadIops: disk.limits.readIops,
      WriteIops: disk.limits.writeIops,
    },
  };
}

function renderInfo(info: MachineInfo): object {
  return {
    Accelerator: info.accelerator,
    AcceleratorReason: info.acceleratorReason,
    QemuVersion: info.qemuVersion,
    Vcpus: info.vcpus,
    Memory: info.memory,
    Guest: info.guest && {
      Hostname: info.guest.hostname,
      Os: info.guest.os,
      Addresses: info.guest.addresses.map((one) => ({ Interface: one.interface, Address: one.address })),
    },
    Disks: info.disks.map((disk) => ({
      Target: disk.target,
      Size: disk.virtualSize,
      Allocated: disk.allocated,
      ReadBytes: disk.readBytes,
      WrittenBytes: disk.writtenBytes,
    })),
  };
}
