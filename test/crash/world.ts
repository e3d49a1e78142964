import { existsSync, globSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { linkPrefix } from '../../src/network/endpoints.ts';
import type { TestDaemon } from '../fixtures/daemon.ts';
import { mountsBelow, processesOf } from '../fixtures/leftovers.ts';

interface Stored {
  id: string;
  name: string;
  state: { phase: string; pid: number; exitCode: number };
  mountSpecs: { type: string; source: string }[];
}

/** What the database says and what the host has, each as sorted lists of names. */
export interface World {
  rows: Record<string, string[]>;
  containers: Stored[];
  host: Record<string, string[]>;
}

export function readWorld(daemon: TestDaemon): World {
  const documents = readDatabase(join(daemon.dataRoot, 'isle.db'));
  const table = <T>(name: string): [string, T][] =>
    documents.filter((row) => row.collection === name).map((row) => [row.key, JSON.parse(row.value) as T]);
  const keys = (name: string) =>
    table(name)
      .map(([key]) => key)
      .sort();
  const list = (path: string) =>
    existsSync(path)
      ? readdirSync(path)
          .filter((name) => !name.startsWith('.'))
          .sort()
      : [];
  const containers = table<Stored>('containers').map(([, record]) => record);
  const pods = table<{ namespace: string; endpoints: { hostLink: string }[] }>('network.pods');
  const { dataRoot, runRoot, root, instance } = daemon;
  const links = readdirSync('/sys/class/net');
  return {
    containers,
    rows: {
      intents: keys('intents'),
      snapshots: keys('snapshots'),
      saved: table<{ saved?: { name: string }[] }>('snapshots')
        .flatMap(([id, { saved = [] }]) => saved.map(({ name }) => `${id}/${name}`))
        .sort(),
      volumes: keys('volumes'),
      layers: keys('layers').map(hex).sort(),
      blobs: keys('blobs').map(hex).sort(),
      mountable: table<{ name: string; options: object }>('volumes')
        .filter(([, { options }]) => Object.keys(options).length > 0)
        .map(([name]) => name),
      pods: keys('network.pods'),
      networks: table<{ name: string; builtIn: boolean }>('network.networks')
        .filter(([, { builtIn }]) => !builtIn)
        .map(([, { name }]) => name)
        .sort(),
      bridges: table<{ bridge?: string }>('network.networks')
        .flatMap(([, { bridge }]) => bridge ?? [])
        .sort(),
      namespaces: pods.map(([, { namespace }]) => namespace).sort(),
      links: pods
        .flatMap(([, { endpoints }]) => endpoints.map(({ hostLink }) => hostLink))
        .filter(Boolean)
        .sort(),
    },
    host: {
      roots: mountsBelow(root)
        .filter((point) => point.startsWith(`${runRoot}/rootfs/`) || isMapped(point, runRoot))
        .map((point) => base(isMapped(point, runRoot) ? dirname(point) : point))
        .sort(),
      otherMounts: mountsBelow(root)
        .filter((point) => !/\/(rootfs|netns|volumes)\//.test(point) && !isMapped(point, runRoot))
        // lxcfs stays for a while after the last container; what lies in a bundle goes with it.
        .filter((point) => !point.startsWith(`${runRoot}/lxcfs/`) && !inBundle.test(point))
        .sort(),
      namespaces: mountsBelow(root)
        .filter((point) => point.startsWith(`${runRoot}/netns/`))
        .map(base)
        .sort(),
      volumeMounts: mountsBelow(root)
        .filter((point) => point.startsWith(`${dataRoot}/volumes/`))
        .map((point) => point.split('/').at(-2)!),
      bundles: list(join(runRoot, 'containers')),
      stateDirs: list(join(dataRoot, 'containers')),
      snapshots: list(join(dataRoot, 'snapshots')),
      saved: list(join(dataRoot, 'snapshots')).flatMap((id) =>
        savedIn(join(dataRoot, 'snapshots', id, 'saved')).map((name) => `${id}/${name}`),
      ),
      volumes: list(join(dataRoot, 'volumes')),
      layers: list(join(dataRoot, 'layers')),
      blobs: list(join(dataRoot, 'blobs/sha256')),
      trash: list(join(dataRoot, 'trash')),
      cgroups: cgroups(instance),
      /** Ids of the containers that have one; an exec has its own beside the container's. */
      monitors: [
        ...new Set(
          processesOf(root)
            .filter((line) => /\bconmon\b/.test(line))
            .map((line) => / -c ([0-9a-f]{64}) /.exec(line)?.[1] ?? line),
        ),
      ].sort(),
      runtimes: processesOf(root).filter((line) => /\b(crun|runc)\b/.test(line) && !/\bconmon\b/.test(line)),
      /** Those of user-defined networks are named after their network. */
      bridges: links.filter((name) => name.startsWith(instance) || name.startsWith('br-')).sort(),
      links: links.filter((name) => name.startsWith(linkPrefix(instance))).sort(),
    },
  };
}

/** What a user namespace cannot make for itself. */
const inBundle = /\/containers\/[0-9a-f]{64}\/(dev|sys|shm)$/;

/** Half-made ones too: their names begin with a dot. */
function savedIn(path: string): string[] {
  return existsSync(path) ? readdirSync(path).sort() : [];
}

/**
 * What database and host disagree on, one line each. Prepared namespaces of the pool belong to no pod: there may be
 * more namespaces and links than pods have, never fewer.
 */
export function disagreements({ rows, containers, host }: World): string[] {
  const ids = containers.map(({ id }) => id).sort();
  const up = containers.filter(({ state }) => state.phase === 'running' || state.phase === 'paused');
  const upIds = up.map(({ id }) => id).sort();
  return [
    ...different('intents', [], rows.intents!),
    ...different('trash', [], host.trash!),
    ...different('other mounts', [], host.otherMounts!),
    ...different('mounted volumes', mountedVolumes(up, rows.mountable!), host.volumeMounts!),
    ...different('mounted roots', rootsOf(up), host.roots!),
    ...different('bundles', upIds, host.bundles!),
    ...different('cgroups', upIds, host.cgroups!),
    ...different('directories of containers', ids, host.stateDirs!),
    ...different('rows of snapshots', rootsOf(containers), rows.snapshots!),
    ...different('directories of snapshots', rootsOf(containers), host.snapshots!),
    ...different('saved roots', rows.saved!, host.saved!),
    ...different('volumes', rows.volumes!, host.volumes!),
    ...different('layers', rows.layers!, host.layers!),
    ...different('blobs', rows.blobs!, host.blobs!),
    ...different('pods', upIds, rows.pods!),
    ...rows
      .bridges!.filter((name) => !host.bridges!.includes(name))
      .map((name) => `bridge ${name} is missing`),
    ...rows
      .namespaces!.filter((name) => !host.namespaces!.includes(name))
      .map((name) => `namespace ${name} is missing`),
    ...rows.links!.filter((name) => !host.links!.includes(name)).map((name) => `link ${name} is missing`),
    ...different('monitors', upIds, host.monitors!),
    ...host.runtimes!.map((line) => `a runtime still runs: ${line}`),
    ...up
      .filter(({ state }) => !existsSync(`/proc/${state.pid}`))
      .map(({ name, state }) => `process ${state.pid} of ${name} is missing`),
  ];
}

/** Waits until nothing disagrees, at most `patience` milliseconds; returns what still does. */
export async function settled(daemon: TestDaemon, patience = 4000): Promise<string[]> {
  const deadline = performance.now() + patience;
  for (;;) {
    const left = disagreements(readWorld(daemon));
    if (left.length === 0 || performance.now() > deadline) return left;
    await sleep(25);
  }
}

/** Everything that a second reconcile must not change. */
export function fingerprint(daemon: TestDaemon): string {
  const { rows, containers, host } = readWorld(daemon);
  const steady = { ...host, namespaces: undefined, links: undefined, bridges: undefined };
  return JSON.stringify({ rows, containers, steady }, undefined, 1);
}

/** Volumes with options that somebody who runs uses. */
function mountedVolumes(up: Stored[], mountable: string[]): string[] {
  const used = up.flatMap(({ mountSpecs }) => mountSpecs.map(({ source }) => source));
  return mountable.filter((name) => used.includes(name));
}

function different(what: string, wanted: string[], found: string[]): string[] {
  const missing = wanted.filter((name) => !found.includes(name));
  const extra = found.filter((name) => !wanted.includes(name));
  return [
    ...missing.map((name) => `${what}: ${name} is missing`),
    ...extra.map((name) => `${what}: ${name} is left over`),
  ];
}

function readDatabase(path: string): { collection: string; key: string; value: string }[] {
  const database = new DatabaseSync(path, { readOnly: true, timeout: 5000 });
  try {
    const rows = database.prepare('SELECT collection, key, value FROM documents ORDER BY position').all();
    return rows as { collection: string; key: string; value: string }[];
  } finally {
    database.close();
  }
}

function cgroups(instance: string): string[] {
  const found = ['/sys/fs/cgroup', ...globSync('/sys/fs/cgroup/*')].flatMap((directory) => {
    const path = join(directory, instance);
    return existsSync(path) ? readdirSync(path, { withFileTypes: true }) : [];
  });
  return [...new Set(found.filter((entry) => entry.isDirectory()).map(({ name }) => name))].sort();
}

function hex(digest: string): string {
  return digest.replace(/^sha256:/, '');
}

function base(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

export function readText(path: string): string {
  return readFileSync(path, 'utf8');
}

/** Of containers and of the images mounted in them. */
function rootsOf(containers: Stored[]): string[] {
  return containers
    .flatMap(({ id, mountSpecs }) => [
      id,
      ...mountSpecs.filter(({ type }) => type === 'image').map((_, index) => `${id}-image-${index}`),
    ])
    .sort();
}

/** The root of a user namespace, at `mapped/<id>/root`. */
function isMapped(point: string, runRoot: string): boolean {
  return base(point) === 'root' && dirname(dirname(point)) === join(runRoot, 'mapped');
}
