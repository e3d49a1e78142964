/** Where a monitor's files are inside its container; plain paths, which QEMU's options can hold as they are. */
export const monitorPaths = {
  shim: '/isle/shim',
  /** The guest's kernel and initramfs. */
  kernel: '/isle/kernel',
  initramfs: '/isle/initramfs',
  share: '/share',
  directory: '/vm',
  agent: '/vm/sockets/agent',
  qmp: '/vm/sockets/qmp',
} as const;
