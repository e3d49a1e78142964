import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { dockerArchive, type TestDaemon } from '../fixtures/daemon.ts';
import { archive, member } from '../fixtures/hostile-tar.ts';
import { busyboxImage } from '../fixtures/image-builder.ts';
import type { Model } from './model.ts';

/** Ends with code 3 when asked to, and not before. */
const worker = ['sh', '-c', 'trap "exit 3" TERM; echo up; sleep 1000 & wait'];

/** The same with more output than its log may hold. */
const chatterbox = ['sh', '-c', 'trap "exit 3" TERM; seq 1 1000; sleep 1000 & wait'];

export interface Remote {
  /** `127.0.0.1:PORT/app:1`, and the same with another tag. */
  reference: string;
  /** Wait until the log has been rotated. */
  patient?: boolean;
}

type Body = Record<string, unknown>;

/**
 * One life of an engine, through the API, from an image pulled to everything removed again. Throws when the daemon
 * goes away in the middle; the model then says what it had acknowledged.
 */
export async function runScript(daemon: TestDaemon, model: Model, remote: Remote): Promise<void> {
  const post = (path: string, body?: unknown) => daemon.ok('POST', path, body);
  const create = (name: string, body: Body) =>
    model.during(
      [name],
      () => post(`/containers/create?name=${name}`, { Image: 'busybox', ...body }),
      () => void model.containers.set(name, { phase: 'created' }),
    );
  const becomes = (name: string, path: string, phase: 'running' | 'paused' | 'exited', exitCode?: number) =>
    model.during(
      [name],
      () => post(`/containers/${name}/${path}`),
      () => void model.containers.set(name, { phase, exitCode }),
    );
  const remove = (name: string) =>
    model.during(
      [name],
      () => daemon.ok('DELETE', `/containers/${name}?force=1&v=1`),
      () => void model.containers.delete(name),
    );

  await clear(daemon, model);
  await pull(daemon, model, remote.reference);
  await load(daemon, model);
  await importRoots(daemon, model);
  await model.during(
    ['vol1'],
    () => post('/volumes/create', { Name: 'vol1' }),
    () => void model.volumes.add('vol1'),
  );
  await model.during(
    ['net1'],
    () => post('/networks/create', { Name: 'net1' }),
    () => void model.networks.add('net1'),
  );
  await create('web', {
    Cmd: worker,
    ExposedPorts: { '80/tcp': {} },
    Volumes: { '/anonymous': {} },
    HostConfig: { PortBindings: { '80/tcp': [{ HostPort: '' }] }, Binds: ['vol1:/data'] },
  });
  await becomes('web', 'start', 'running');
  await exec(daemon, 'web');
  await becomes('web', 'pause', 'paused');
  await becomes('web', 'unpause', 'running');
  await post('/networks/net1/connect', { Container: 'web' });
  await post('/networks/net1/disconnect', { Container: 'web' });
  await post('/containers/web/update', { Memory: 64 << 20, MemorySwap: 64 << 20 });
  await model.during(
    ['vol2'],
    () =>
      post('/volumes/create', { Name: 'vol2', DriverOpts: { type: 'tmpfs', device: 'tmpfs', o: 'size=1m' } }),
    () => void model.volumes.add('vol2'),
  );
  await create('named', {
    Cmd: chatterbox,
    HostConfig: {
      NetworkMode: 'net1',
      UsernsMode: 'auto',
      Binds: ['vol2:/memory'],
      LogConfig: { Type: 'json-file', Config: { 'max-size': '1k', 'max-file': '2' } },
    },
  });
  await becomes('named', 'start', 'running');
  const Mounts = [
    { Type: 'image', Source: 'busybox', Target: '/image', ImageOptions: { Subpath: 'etc' } },
    { Type: 'image', Source: 'busybox', Target: '/file', ImageOptions: { Subpath: 'etc/passwd' } },
  ];
  await create('plain', { Cmd: worker, HostConfig: { NetworkMode: 'none', Mounts } });
  await becomes('plain', 'start', 'running');
  await create('system', { Cmd: worker, HostConfig: { NetworkMode: 'none', Runtime: 'system' } });
  await becomes('system', 'start', 'running');
  await isUp(daemon, 'system');
  await becomes('system', 'stop?t=5', 'exited', 3);
  await becomes('web', 'stop?t=5', 'exited', 3);
  await becomes('web', 'start', 'running');
  await becomes('web', 'restart?t=5', 'running');
  await becomes('web', 'kill', 'exited', 137);
  await throwAway(daemon, model);
  if (remote.patient) await sleep(1500); // logs are looked at once a second
  await snapshots(daemon, model);
  await daemon.ok('PUT', '/containers/web/archive?path=/', Buffer.alloc(1024));
  await model.during(
    ['committed:latest'],
    () => post('/commit?container=web&repo=committed', {}),
    () => void model.images.add('committed:latest'),
  );
  await push(daemon, model, `${remote.reference.split('/')[0]}/pushed`);
  await remove('system');
  await remove('web');
  await remove('named');
  await remove('plain');
  await clear(daemon, model);
}

async function pull(daemon: TestDaemon, model: Model, reference: string): Promise<void> {
  const at = reference.lastIndexOf(':');
  const query = `fromImage=${reference.slice(0, at)}&tag=${reference.slice(at + 1)}`;
  await model.during(
    [reference],
    async () => {
      const { text } = await daemon.ok('POST', `/images/create?${query}`);
      if (text.includes('errorDetail')) throw new Error(`pull: ${text}`);
    },
    () => void model.images.add(reference),
  );
}

/** Its layer exists only unpacked: it is made into a blob first. */
async function push(daemon: TestDaemon, model: Model, repository: string): Promise<void> {
  await model.during(
    [`${repository}:1`],
    () => daemon.ok('POST', `/images/committed:latest/tag?repo=${repository}&tag=1`),
    () => void model.images.add(`${repository}:1`),
  );
  const { text } = await daemon.ok('POST', `/images/${repository}/push?tag=1`);
  if (text.includes('errorDetail')) throw new Error(`push: ${text}`);
}

/** An image that was never seen before, so that all of it is written. */
async function load(daemon: TestDaemon, model: Model): Promise<void> {
  const image = busyboxImage({ 'etc/unique': randomBytes(64) }, { compression: 'none' });
  await model.during(
    ['loaded:latest'],
    () => daemon.ok('POST', '/images/load?quiet=1', dockerArchive(image, 'loaded:latest')),
    () => void model.images.add('loaded:latest'),
  );
}

/** One that runs and one that does not are saved, restored and cloned. */
async function snapshots(daemon: TestDaemon, model: Model): Promise<void> {
  const post = (path: string, body: Body = {}) => daemon.ok('POST', `/isle/v1/containers/${path}`, body);
  await post('plain/snapshots', { Name: 'a' });
  await model.during(
    ['plain'],
    () => post('plain/snapshots/a/restore', { Restart: true, Timeout: 5 }),
    () => void model.containers.set('plain', { phase: 'running' }),
  );
  await post('web/snapshots', { Name: 'b' });
  await post('web/snapshots/b/restore');
  await model.during(
    ['twin'],
    () => post('web/clone', { Name: 'twin', Snapshot: 'b' }),
    () => void model.containers.set('twin', { phase: 'created' }),
  );
  await daemon.ok('DELETE', '/isle/v1/containers/web/snapshots/b');
  await model.during(
    ['twin'],
    () => daemon.ok('DELETE', '/containers/twin?force=1&v=1'),
    () => void model.containers.delete('twin'),
  );
}

/** Images of system containers: a tar with its metadata, and a squashfs. */
async function importRoots(daemon: TestDaemon, model: Model): Promise<void> {
  const tar = archive(
    member('metadata.yaml', {}, 'architecture: x86_64\n'),
    member('rootfs/unique', {}, randomBytes(64)),
  );
  const squashfs = squashfsOf(randomBytes(64));
  for (const [name, body] of [
    ['rooted:latest', tar],
    ['squashed:latest', squashfs],
  ] as const)
    await model.during(
      [name],
      async () => {
        const { text } = await daemon.ok('POST', `/isle/v1/images/import?name=${name}`, body);
        if (text.includes('errorDetail')) throw new Error(`import: ${text}`);
      },
      () => void model.images.add(name),
    );
}

function squashfsOf(content: Buffer): Buffer {
  const directory = mkdtempSync(join(tmpdir(), 'isle-crash-root-'));
  try {
    mkdirSync(join(directory, 'root'));
    writeFileSync(join(directory, 'root/unique'), content);
    const made = join(directory, 'squashfs');
    execFileSync('mksquashfs', [join(directory, 'root'), made, '-quiet', '-no-progress'], {
      stdio: 'ignore',
    });
    return readFileSync(made);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** Before it has said so it does not listen to signals. */
async function isUp(daemon: TestDaemon, name: string): Promise<void> {
  for (let tries = 0; tries < 500; tries++, await sleep(20))
    if ((await daemon.ok('GET', `/containers/${name}/logs?stdout=1`)).text.includes('up')) return;
}

async function exec(daemon: TestDaemon, name: string): Promise<void> {
  const created = await daemon.ok('POST', `/containers/${name}/exec`, { Cmd: ['true'] });
  await daemon.ok('POST', `/exec/${created.json<{ Id: string }>().Id}/start`, { Detach: true });
}

/** `docker run --rm`: gone when the wait has been answered. */
async function throwAway(daemon: TestDaemon, model: Model): Promise<void> {
  await model.during(
    ['brief'],
    async () => {
      await daemon.ok('POST', '/containers/create?name=brief', {
        Image: 'busybox',
        Cmd: ['true'],
        HostConfig: { AutoRemove: true },
      });
      const removed = daemon.ok('POST', '/containers/brief/wait?condition=removed');
      // When the daemon dies both calls fail: the first failure is the one that is told.
      removed.catch(() => {});
      await daemon.ok('POST', '/containers/brief/start');
      await removed;
    },
    () => {},
  );
}

/** Everything that an earlier life left. */
async function clear(daemon: TestDaemon, model: Model): Promise<void> {
  const containers = (await daemon.ok('GET', '/containers/json?all=1')).json<{ Names: string[] }[]>();
  for (const { Names } of containers) {
    const name = Names[0]!.slice(1);
    await model.during(
      [name],
      () => daemon.ok('DELETE', `/containers/${name}?force=1&v=1`),
      () => void model.containers.delete(name),
    );
  }
  for (const name of ['vol1', 'vol2'])
    await model.during(
      [name],
      () => daemon.call('DELETE', `/volumes/${name}`),
      () => void model.volumes.delete(name),
    );
  await model.during(
    ['net1'],
    () => daemon.call('DELETE', '/networks/net1'),
    () => void model.networks.delete('net1'),
  );
  const images = (await daemon.ok('GET', '/images/json')).json<{ RepoTags: string[] | null; Id: string }[]>();
  for (const { RepoTags, Id } of images) {
    if (RepoTags?.includes('busybox:latest')) continue;
    const name = RepoTags?.[0] ?? Id;
    await model.during(
      [name],
      () => daemon.ok('DELETE', `/images/${encodeURIComponent(name)}?force=1`),
      () => void model.images.delete(name),
    );
  }
}
