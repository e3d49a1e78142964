import type { TarEntry } from '../../lib/tar/entry.ts';

/** Whether a root file system has an init, and how that is told to shut down, by the members that pass by. */
export class InitFinder {
  #init: string | undefined;
  #systemd = false;

  see({ name, type, linkName }: TarEntry): void {
    const path = name.replace(/^usr\//, '');
    if (path === 'lib/systemd/systemd') this.#systemd = true;
    else if (path === 'sbin/init' && (type === 'file' || type === 'symlink' || type === 'link'))
      this.#init = type === 'file' ? 'init' : (linkName.split('/').at(-1) ?? '');
  }

  get found(): boolean {
    return this.#init !== undefined || this.#systemd;
  }

  /** The signal that shuts it down in order, where that is known; see systemd(1), BusyBox's and OpenRC's init. */
  get stopSignal(): string | undefined {
    if (this.#init === 'systemd' || (this.#init === undefined && this.#systemd)) return 'SIGRTMIN+3';
    if (this.#init === 'busybox') return 'SIGUSR2';
    return undefined;
  }
}
