import type { Command } from './command.ts';
import { everydayMachineCommands, machineAliases, machineCommands } from './vm/commands.ts';

export interface Entry {
  readonly summary: string;
  /** Heading in `isle help`. */
  readonly group: 'Containers' | 'Virtual machines' | 'Images' | 'Volumes and networks' | 'Engine' | 'Other';
  readonly load: () => Promise<{ command: Command }>;
  readonly hidden?: boolean;
  /** Not among those that `isle help` begins with. */
  readonly rare?: boolean;
}

/** Every command by its words; a file is loaded only when its command is called. */
export const commands: Readonly<Record<string, Entry>> = {
  run: {
    summary: 'Create a container from an image and run it',
    group: 'Containers',
    load: () => import('./commands/run.ts'),
  },
  create: {
    summary: 'Create a container without starting it',
    group: 'Containers',
    load: () => import('./commands/create.ts'),
  },
  start: {
    summary: 'Start stopped containers',
    group: 'Containers',
    load: () => import('./commands/start.ts'),
  },
  stop: {
    summary: 'Stop running containers',
    group: 'Containers',
    load: () => import('./commands/stop.ts'),
  },
  restart: {
    summary: 'Restart containers',
    group: 'Containers',
    load: () => import('./commands/restart.ts'),
  },
  kill: {
    summary: 'Send a signal to running containers',
    group: 'Containers',
    load: () => import('./commands/kill.ts'),
  },
  pause: {
    summary: 'Freeze all processes of containers',
    group: 'Containers',
    load: () => import('./commands/pause.ts'),
  },
  unpause: {
    summary: 'Let paused containers go on',
    group: 'Containers',
    load: () => import('./commands/unpause.ts'),
  },
  rm: {
    summary: 'Remove containers',
    group: 'Containers',
    load: () => import('./commands/rm.ts'),
  },
  ps: {
    summary: 'List containers',
    group: 'Containers',
    load: () => import('./commands/ps.ts'),
  },
  logs: {
    summary: 'Show what a container wrote',
    group: 'Containers',
    load: () => import('./commands/logs.ts'),
  },
  shell: {
    summary: 'Log in to a running container',
    group: 'Containers',
    load: () => import('./commands/shell.ts'),
  },
  exec: {
    summary: 'Run a command in a running container',
    group: 'Containers',
    load: () => import('./commands/exec.ts'),
  },
  attach: {
    summary: 'Connect this terminal to a running container',
    group: 'Containers',
    load: () => import('./commands/attach.ts'),
  },
  cp: {
    summary: 'Copy files between a container and here',
    group: 'Containers',
    load: () => import('./commands/cp.ts'),
  },
  top: {
    summary: 'List the processes of a container',
    group: 'Containers',
    load: () => import('./commands/top.ts'),
  },
  stats: {
    summary: 'Live resource usage',
    group: 'Containers',
    load: () => import('./commands/stats.ts'),
  },
  wait: {
    summary: 'Wait until containers stop, and print their exit codes',
    group: 'Containers',
    load: () => import('./commands/wait.ts'),
  },
  rename: {
    summary: 'Rename a container',
    group: 'Containers',
    load: () => import('./commands/rename.ts'),
  },
  update: {
    summary: 'Change limits and restart policy of containers',
    group: 'Containers',
    load: () => import('./commands/update.ts'),
  },
  port: {
    summary: 'List published ports',
    group: 'Containers',
    load: () => import('./commands/port.ts'),
  },
  diff: {
    summary: "List what changed in a container's file system",
    group: 'Containers',
    load: () => import('./commands/diff.ts'),
  },
  export: {
    summary: "Write a container's file system as a tar archive",
    group: 'Containers',
    load: () => import('./commands/export.ts'),
  },
  commit: {
    summary: "Make an image of a container's changes",
    group: 'Containers',
    load: () => import('./commands/commit.ts'),
  },
  clone: {
    summary: 'Make a container from another one, or from a snapshot of it',
    group: 'Containers',
    load: () => import('./commands/clone.ts'),
  },
  'snapshot create': {
    summary: 'Keep what a container has written',
    group: 'Containers',
    load: () => import('./commands/snapshot-create.ts'),
  },
  'snapshot ls': {
    summary: 'List the snapshots of a container',
    group: 'Containers',
    load: () => import('./commands/snapshot-ls.ts'),
  },
  'snapshot restore': {
    summary: 'Make a container what it was',
    group: 'Containers',
    load: () => import('./commands/snapshot-restore.ts'),
  },
  'snapshot rm': {
    summary: 'Remove snapshots of a container',
    group: 'Containers',
    load: () => import('./commands/snapshot-rm.ts'),
  },
  compare: {
    summary: 'Measure what each isolation costs here, and advise',
    group: 'Containers',
    load: () => import('./commands/compare.ts'),
  },
  'container prune': {
    summary: 'Remove all stopped containers',
    group: 'Containers',
    load: () => import('./commands/container-prune.ts'),
  },
  'container inspect': {
    summary: 'Show all details of containers',
    group: 'Containers',
    load: () => import('./commands/container-inspect.ts'),
  },
  ...withRare(machineCommands, everydayMachineCommands),
  images: {
    summary: 'List images',
    group: 'Images',
    load: () => import('./commands/images.ts'),
  },
  pull: {
    summary: 'Fetch an image from a registry',
    group: 'Images',
    load: () => import('./commands/pull.ts'),
  },
  push: {
    summary: 'Send an image to a registry',
    group: 'Images',
    load: () => import('./commands/push.ts'),
  },
  tag: {
    summary: 'Give an image a further name',
    group: 'Images',
    load: () => import('./commands/tag.ts'),
  },
  rmi: {
    summary: 'Remove images',
    group: 'Images',
    load: () => import('./commands/rmi.ts'),
  },
  history: {
    summary: 'Show the layers of an image',
    group: 'Images',
    load: () => import('./commands/history.ts'),
  },
  save: {
    summary: 'Write images to a tar archive',
    group: 'Images',
    load: () => import('./commands/save.ts'),
  },
  load: {
    summary: 'Read images from a tar archive',
    group: 'Images',
    load: () => import('./commands/load.ts'),
  },
  import: {
    summary: 'Make an image of a file system tar',
    group: 'Images',
    load: () => import('./commands/import.ts'),
  },
  login: {
    summary: 'Log in to a registry',
    group: 'Images',
    load: () => import('./commands/login.ts'),
  },
  logout: {
    summary: 'Forget the credentials of a registry',
    group: 'Images',
    load: () => import('./commands/logout.ts'),
  },
  'image import': {
    summary: 'Make an image of a distribution from files or a server',
    group: 'Images',
    load: () => import('./commands/image-import.ts'),
  },
  'image export': {
    summary: 'Write an image as LXD and Incus have them',
    group: 'Images',
    load: () => import('./commands/image-export.ts'),
  },
  'image search': {
    summary: 'List what an image server offers',
    group: 'Images',
    load: () => import('./commands/image-search.ts'),
  },
  'image prune': {
    summary: 'Remove unused images',
    group: 'Images',
    load: () => import('./commands/image-prune.ts'),
  },
  'image inspect': {
    summary: 'Show all details of images',
    group: 'Images',
    load: () => import('./commands/image-inspect.ts'),
  },
  'volume create': {
    summary: 'Create a volume',
    group: 'Volumes and networks',
    load: () => import('./commands/volume-create.ts'),
  },
  'volume ls': {
    summary: 'List volumes',
    group: 'Volumes and networks',
    load: () => import('./commands/volume-ls.ts'),
  },
  'volume inspect': {
    summary: 'Show all details of volumes',
    group: 'Volumes and networks',
    load: () => import('./commands/volume-inspect.ts'),
  },
  'volume rm': {
    summary: 'Remove volumes',
    group: 'Volumes and networks',
    load: () => import('./commands/volume-rm.ts'),
  },
  'volume prune': {
    summary: 'Remove unused volumes',
    group: 'Volumes and networks',
    load: () => import('./commands/volume-prune.ts'),
  },
  'network create': {
    summary: 'Create a network',
    group: 'Volumes and networks',
    load: () => import('./commands/network-create.ts'),
  },
  'network ls': {
    summary: 'List networks',
    group: 'Volumes and networks',
    load: () => import('./commands/network-ls.ts'),
  },
  'network inspect': {
    summary: 'Show all details of networks',
    group: 'Volumes and networks',
    load: () => import('./commands/network-inspect.ts'),
  },
  'network rm': {
    summary: 'Remove networks',
    group: 'Volumes and networks',
    load: () => import('./commands/network-rm.ts'),
  },
  'network prune': {
    summary: 'Remove unused networks',
    group: 'Volumes and networks',
    load: () => import('./commands/network-prune.ts'),
  },
  'network connect': {
    summary: 'Connect a container to a network',
    group: 'Volumes and networks',
    load: () => import('./commands/network-connect.ts'),
  },
  'network disconnect': {
    summary: 'Disconnect a container from a network',
    group: 'Volumes and networks',
    load: () => import('./commands/network-disconnect.ts'),
  },
  up: {
    summary: 'Start the engine',
    group: 'Engine',
    load: () => import('./commands/up.ts'),
  },
  down: {
    summary: 'Stop the engine',
    group: 'Engine',
    load: () => import('./commands/down.ts'),
  },
  doctor: {
    summary: 'Check this host',
    group: 'Engine',
    load: () => import('./commands/doctor.ts'),
  },
  inspect: {
    summary: 'Show all details of containers, images, volumes or networks',
    group: 'Engine',
    load: () => import('./commands/inspect.ts'),
  },
  'system info': {
    summary: 'Show the engine and its host',
    group: 'Engine',
    load: () => import('./commands/system-info.ts'),
  },
  'system df': {
    summary: 'Show disk usage',
    group: 'Engine',
    load: () => import('./commands/system-df.ts'),
  },
  'system prune': {
    summary: 'Remove everything that is unused',
    group: 'Engine',
    load: () => import('./commands/system-prune.ts'),
  },
  'system events': {
    summary: 'Show what happens, as it happens',
    group: 'Engine',
    load: () => import('./commands/system-events.ts'),
  },
  version: {
    summary: 'Show the versions of command and engine',
    group: 'Engine',
    load: () => import('./commands/version.ts'),
  },
  welcome: {
    summary: 'Run a first container',
    group: 'Other',
    load: () => import('./commands/welcome.ts'),
  },
  completion: {
    summary: 'Print the completion script of a shell',
    group: 'Other',
    load: () => import('./commands/completion.ts'),
  },
  help: {
    summary: 'Show help for a command',
    group: 'Other',
    load: () => import('./commands/help.ts'),
  },
  __complete: {
    summary: "Candidates for a shell's completion",
    group: 'Other',
    load: () => import('./commands/complete.ts'),
    hidden: true,
  },
};

/** Docker's management forms and other spellings. */
export const aliases: Readonly<Record<string, string>> = {
  info: 'system info',
  events: 'system events',
  df: 'system df',
  'container ls': 'ps',
  'container list': 'ps',
  'container ps': 'ps',
  'container remove': 'rm',
  'image ls': 'images',
  'image list': 'images',
  'image rm': 'rmi',
  'image remove': 'rmi',
  // Incus's words.
  copy: 'clone',
  'snapshot list': 'snapshot ls',
  'snapshot delete': 'snapshot rm',
  'snapshot remove': 'snapshot rm',
  'volume list': 'volume ls',
  'volume remove': 'volume rm',
  'network list': 'network ls',
  'network remove': 'network rm',
  ...forms('container', [
    'run',
    'create',
    'start',
    'stop',
    'restart',
    'kill',
    'pause',
    'unpause',
    'rm',
    'logs',
    'exec',
    'attach',
    'cp',
    'top',
    'stats',
    'wait',
    'rename',
    'update',
    'port',
    'diff',
    'export',
    'commit',
    'clone',
  ]),
  ...machineAliases,
  ...forms('image', ['pull', 'push', 'tag', 'history', 'save', 'load']),
};

/** First words that only mean something with a second one. */
export const groups: Readonly<Record<string, string>> = {
  container: 'Manage containers',
  image: 'Manage images',
  volume: 'Manage volumes',
  network: 'Manage networks',
  system: 'Manage the engine',
  snapshot: 'Manage snapshots of containers',
  vm: 'Manage virtual machines',
};

/** Commands of Docker's that Isle does not have yet, so that the answer is not a guess at a typo. */
export const absent: ReadonlySet<string> = new Set([
  'build',
  'builder',
  'buildx',
  'compose',
  'context',
  'manifest',
  'plugin',
  'search',
  'trust',
  'checkpoint',
  'swarm',
  'node',
  'service',
  'stack',
  'secret',
  'config',
]);

/** Marks those that are not among the everyday ones. */
function withRare(
  entries: Readonly<Record<string, Entry>>,
  everyday: ReadonlySet<string>,
): Record<string, Entry> {
  return Object.fromEntries(
    Object.entries(entries).map(([name, entry]) => [
      name,
      everyday.has(name) ? entry : { ...entry, rare: true },
    ]),
  );
}

function forms(group: string, names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [`${group} ${name}`, name]));
}

export interface Found {
  name: string;
  entry: Entry;
  /** How many words of the call its name took. */
  words: number;
}

/** The command that the words begin with. */
export function findCommand(words: readonly string[]): Found | undefined {
  const [first = '', second = ''] = words;
  for (const [typed, count] of [
    [`${first} ${second}`, 2],
    [first, 1],
  ] as const) {
    const name = Object.hasOwn(aliases, typed) ? aliases[typed]! : typed;
    if (Object.hasOwn(commands, name)) return { name, entry: commands[name]!, words: count };
  }
  return undefined;
}

/** All words that may stand first. */
export function firstWords(): string[] {
  const all = [...Object.keys(commands), ...Object.keys(aliases)].filter((name) => !name.startsWith('__'));
  return [...new Set(all.map((name) => name.split(' ')[0] as string))];
}

/** All words that may follow `group`. */
export function secondWords(group: string): string[] {
  const all = [...Object.keys(commands), ...Object.keys(aliases)];
  return [
    ...new Set(
      all.filter((name) => name.startsWith(`${group} `)).map((name) => name.slice(group.length + 1)),
    ),
  ];
}
