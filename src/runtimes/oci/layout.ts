import { join } from 'node:path';
import { isleError } from '../../lib/errors.ts';

/** Where a workload's files lie. Everything here is below the run root and gone after a reboot. */
export interface Layout {
  /** `containers/<id>`: config.json, the record, conmon's sockets and pid files. */
  bundle(id: string): string;
  bundles: string;
  /** conmon renames `exits/<id>` into place when the process has ended and its output is drained. */
  exits: string;
  /** Where the OCI runtime writes the pid of a process executed without a monitor, by the exec's id. */
  pids: string;
  /** The OCI runtime's own state: `--root`. */
  state: string;
  /** Where conmon is handed a container's terminal, on a socket that is there for milliseconds. */
  terminals: string;
  /** Compiled seccomp filters. */
  filters: string;
  /** Marks of the control groups above containers' that Isle made. */
  parents: string;
  execs(id: string): string;
  /** Like a bundle, for one more process in a container. */
  exec(id: string, execId: string): string;
  cgroup(id: string, parent: string): string;
}

export function layoutOf(runRoot: string, instance: string): Layout {
  const bundles = join(runRoot, 'containers');
  return {
    bundles,
    bundle: (id) => join(bundles, safe(id)),
    exits: join(runRoot, 'exits'),
    pids: join(runRoot, 'pids'),
    state: join(runRoot, 'runtime'),
    terminals: join(runRoot, 'tty'),
    filters: join(runRoot, 'filters'),
    parents: join(runRoot, 'cgroup-parents'),
    execs: (id) => join(bundles, safe(id), 'execs'),
    exec: (id, execId) => join(bundles, safe(id), 'execs', safe(execId)),
    cgroup: (id, parent) => `${cgroupParent(parent, instance)}/${safe(id)}`,
  };
}

/** `/<instance>` unless a parent was asked for; always absolute, without dots. */
function cgroupParent(parent: string, instance: string): string {
  if (parent === '') return `/${instance}`;
  const path = parent.startsWith('/') ? parent : `/${parent}`;
  if (!/^(\/[\w@:.-]{1,255}){1,16}\/?$/.test(path) || path.split('/').some((part) => /^\.+$/.test(part)))
    throw isleError('invalidParameter', { message: `invalid cgroup parent "${parent}"` });
  return path.replace(/\/$/, '');
}

/** An id becomes a path, an argument and a cgroup's name. */
function safe(id: string): string {
  if (!/^[A-Za-z0-9][\w.-]{0,127}$/.test(id))
    throw isleError('invalidParameter', { message: `invalid id ${JSON.stringify(id)}` });
  return id;
}
