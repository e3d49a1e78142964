import type { Entry } from '../registry.ts';

const group = 'Virtual machines';

/** `isle vm …`: one line for each command, its file in ../commands; words are virsh's. */
export const machineCommands: Readonly<Record<string, Entry>> = {
  'vm create': {
    summary: 'Make a virtual machine',
    group,
    load: () => import('../commands/vm-create.ts'),
  },
  'vm list': {
    summary: 'List virtual machines',
    group,
    load: () => import('../commands/vm-list.ts'),
  },
  'vm start': {
    summary: 'Start machines; what was saved goes on',
    group,
    load: () => import('../commands/vm-start.ts'),
  },
  'vm shutdown': {
    summary: 'Ask guests to power off',
    group,
    load: () => import('../commands/vm-shutdown.ts'),
  },
  'vm destroy': {
    summary: 'Pull the plug of machines; nothing is removed',
    group,
    load: () => import('../commands/vm-destroy.ts'),
  },
  'vm reboot': {
    summary: 'Ask guests to reboot',
    group,
    load: () => import('../commands/vm-reboot.ts'),
  },
  'vm reset': {
    summary: 'Reset machines, as their button does',
    group,
    load: () => import('../commands/vm-reset.ts'),
  },
  'vm suspend': {
    summary: 'Freeze machines in memory',
    group,
    load: () => import('../commands/vm-suspend.ts'),
  },
  'vm resume': {
    summary: 'Let frozen machines go on',
    group,
    load: () => import('../commands/vm-resume.ts'),
  },
  'vm show': {
    summary: 'Show a machine: hardware, disks, addresses',
    group,
    load: () => import('../commands/vm-show.ts'),
  },
  'vm console': {
    summary: 'Connect this terminal to the serial console of a machine',
    group,
    load: () => import('../commands/vm-console.ts'),
  },
  'vm screenshot': {
    summary: 'Keep a picture of the screen of a machine',
    group,
    load: () => import('../commands/vm-screenshot.ts'),
  },
  'vm display': {
    summary: 'Show the screen of a machine to a VNC viewer',
    group,
    load: () => import('../commands/vm-display.ts'),
  },
  'vm edit': {
    summary: 'Change the hardware of a machine',
    group,
    load: () => import('../commands/vm-edit.ts'),
  },
  'vm rename': {
    summary: 'Rename a machine',
    group,
    load: () => import('../commands/vm-rename.ts'),
  },
  'vm autostart': {
    summary: 'Start machines with the engine',
    group,
    load: () => import('../commands/vm-autostart.ts'),
  },
  'vm remove': {
    summary: 'Remove machines, asking about their disks',
    group,
    load: () => import('../commands/vm-remove.ts'),
  },
  'vm import': {
    summary: "Bring in another hypervisor's machine",
    group,
    load: () => import('../commands/vm-import.ts'),
  },
  'vm export': {
    summary: 'Write a machine for another hypervisor',
    group,
    load: () => import('../commands/vm-export.ts'),
  },
  'vm backup': {
    summary: 'Copy a machine, or what changed, to a directory',
    group,
    load: () => import('../commands/vm-backup.ts'),
  },
  'vm backup-list': {
    summary: 'List backups in a directory',
    group,
    load: () => import('../commands/vm-backup-list.ts'),
  },
  'vm backup-verify': {
    summary: 'Read every byte of a backup and compare',
    group,
    load: () => import('../commands/vm-backup-verify.ts'),
  },
  'vm backup-remove': {
    summary: 'Remove backups, or all but the newest',
    group,
    load: () => import('../commands/vm-backup-remove.ts'),
  },
  'vm restore': {
    summary: 'Make a machine of a backup',
    group,
    load: () => import('../commands/vm-restore.ts'),
  },
  'vm migrate': {
    summary: 'Move a running machine into a new QEMU',
    group,
    load: () => import('../commands/vm-migrate.ts'),
  },
  'vm domstate': {
    summary: 'Print the state of a machine',
    group,
    load: () => import('../commands/vm-domstate.ts'),
  },
  'vm domifaddr': {
    summary: 'List the addresses of a machine',
    group,
    load: () => import('../commands/vm-domifaddr.ts'),
  },
  'vm domblklist': {
    summary: 'List the disks of a machine',
    group,
    load: () => import('../commands/vm-domblklist.ts'),
  },
  'vm domiflist': {
    summary: 'List the network cards of a machine',
    group,
    load: () => import('../commands/vm-domiflist.ts'),
  },
  'vm attach-disk': {
    summary: 'Give a machine a further disk',
    group,
    load: () => import('../commands/vm-attach-disk.ts'),
  },
  'vm detach-disk': {
    summary: 'Take a disk from a machine',
    group,
    load: () => import('../commands/vm-detach-disk.ts'),
  },
  'vm blockresize': {
    summary: 'Make a disk larger, also while it is in use',
    group,
    load: () => import('../commands/vm-blockresize.ts'),
  },
  'vm blkdeviotune': {
    summary: 'Show or set how fast a disk may be',
    group,
    load: () => import('../commands/vm-blkdeviotune.ts'),
  },
  'vm change-media': {
    summary: 'Put a CD into a drive, or eject it',
    group,
    load: () => import('../commands/vm-change-media.ts'),
  },
  'vm setvcpus': {
    summary: 'Change the number of processors of a machine',
    group,
    load: () => import('../commands/vm-setvcpus.ts'),
  },
  'vm setmem': {
    summary: 'Change the memory of a machine',
    group,
    load: () => import('../commands/vm-setmem.ts'),
  },
  'vm setmaxmem': {
    summary: 'Change how much memory a machine may get',
    group,
    load: () => import('../commands/vm-setmaxmem.ts'),
  },
  'vm vol-list': {
    summary: 'List the disks of the store',
    group,
    load: () => import('../commands/vm-vol-list.ts'),
  },
  'vm vol-delete': {
    summary: 'Remove disks that no machine has',
    group,
    load: () => import('../commands/vm-vol-delete.ts'),
  },
  'vm vol-resize': {
    summary: 'Change the size of a disk that no machine has',
    group,
    load: () => import('../commands/vm-vol-resize.ts'),
  },
  'vm attach-interface': {
    summary: 'Give a machine a further network card',
    group,
    load: () => import('../commands/vm-attach-interface.ts'),
  },
  'vm detach-interface': {
    summary: 'Take a network card from a machine',
    group,
    load: () => import('../commands/vm-detach-interface.ts'),
  },
  'vm snapshot-create': {
    summary: 'Keep a machine as it is, under the next free name',
    group,
    load: () => import('../commands/vm-snapshot-create.ts'),
  },
  'vm snapshot-create-as': {
    summary: 'Keep a machine as it is, with or without its memory',
    group,
    load: () => import('../commands/vm-snapshot-create-as.ts'),
  },
  'vm snapshot-list': {
    summary: 'List the snapshots of a machine',
    group,
    load: () => import('../commands/vm-snapshot-list.ts'),
  },
  'vm snapshot-info': {
    summary: 'Show a snapshot of a machine',
    group,
    load: () => import('../commands/vm-snapshot-info.ts'),
  },
  'vm snapshot-revert': {
    summary: 'Make a machine what it was',
    group,
    load: () => import('../commands/vm-snapshot-revert.ts'),
  },
  'vm snapshot-delete': {
    summary: 'Remove snapshots of a machine',
    group,
    load: () => import('../commands/vm-snapshot-delete.ts'),
  },
  'vm clone': {
    summary: 'Make a machine from another one, or from a snapshot of it',
    group,
    load: () => import('../commands/vm-clone.ts'),
  },
  'vm save': {
    summary: 'Keep the memory of machines on the disk and end them',
    group,
    load: () => import('../commands/vm-save.ts'),
  },
  'vm managedsave-remove': {
    summary: 'Forget the memory that was saved',
    group,
    load: () => import('../commands/vm-managedsave-remove.ts'),
  },
};

/** What `isle help` begins with. */
export const everydayMachineCommands: ReadonlySet<string> = new Set(
  [
    'create',
    'list',
    'start',
    'shutdown',
    'show',
    'console',
    'display',
    'edit',
    'remove',
    'import',
    'export',
  ].map((word) => `vm ${word}`),
);

/** Other words of virsh's, Incus's and Docker's for the same. */
export const machineAliases: Readonly<Record<string, string>> = {
  'vm vol-ls': 'vm vol-list',
  'vm vol-rm': 'vm vol-delete',
  'vm ls': 'vm list',
  'vm ps': 'vm list',
  'vm stop': 'vm shutdown',
  'vm kill': 'vm destroy',
  'vm poweroff': 'vm destroy',
  'vm pause': 'vm suspend',
  'vm unpause': 'vm resume',
  'vm install': 'vm create',
  'vm dominfo': 'vm show',
  'vm info': 'vm show',
  'vm domrename': 'vm rename',
  'vm undefine': 'vm remove',
  'vm rm': 'vm remove',
  'vm delete': 'vm remove',
  'vm vncdisplay': 'vm display',
  'vm domdisplay': 'vm display',
  'vm vnc': 'vm display',
  'vm state': 'vm domstate',
  'vm addresses': 'vm domifaddr',
  'vm disks': 'vm domblklist',
  'vm backup-begin': 'vm backup',
  'vm backups': 'vm backup-list',
  'vm backup-rm': 'vm backup-remove',
  'vm backup-delete': 'vm backup-remove',
  // What containers have, too.
  'vm logs': 'logs',
  'vm stats': 'stats',
  'vm exec': 'exec',
  'vm cp': 'cp',
  'vm wait': 'wait',
  'vm port': 'port',
  'vm update': 'update',
  'vm inspect': 'container inspect',
  'vm managedsave': 'vm save',
  'vm snapshot-remove': 'vm snapshot-delete',
  'vm snapshot-rm': 'vm snapshot-delete',
  'vm snapshot-ls': 'vm snapshot-list',
  'vm snapshot-restore': 'vm snapshot-revert',
  'vm copy': 'vm clone',
};
