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
};

/** Other words of virsh's, Incus's and Docker's for the same. */
export const machineAliases: Readonly<Record<string, string>> = {
  'vm ls': 'vm list',
  'vm ps': 'vm list',
  'vm stop': 'vm shutdown',
  'vm kill': 'vm destroy',
  'vm poweroff': 'vm destroy',
  'vm pause': 'vm suspend',
  'vm unpause': 'vm resume',
};
