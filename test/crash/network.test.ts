import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { unwireGuest, wireGuest } from '../../src/host/guest-link.ts';
import { listLinks } from '../../src/host/netlink.ts';
import { run } from '../../src/host/run.ts';
import { linkPrefix } from '../../src/network/endpoints.ts';
import type { Attachment, Endpoint, Network } from '../../src/network/network.ts';
import { crashAt, failAt } from '../fixtures/network-crash.ts';
import { inPod } from '../fixtures/network.ts';

/** Every failpoint of the room and of the wiring of guests, read from their sources. */
const points = globSync(['src/network/**/*.ts', 'src/host/guest*.ts'], {
  cwd: join(import.meta.dirname, '../..'),
}).flatMap((file) =>
  [...readFileSync(join(import.meta.dirname, '../..', file), 'utf8').matchAll(/failpoint\('([^']+)'\)/g)].map(
    (match) => match[1]!,
  ),
);

/** Failures here are mended at once, or logged: nobody waits for this work. */
const tolerant = new Set([
  'network.rules.before',
  'network.rules.after',
  'network.detach.before',
  'network.detach.after',
]);

describe('a daemon killed while it works on networks', { concurrency: 2 }, () => {
  assert.ok(points.length > 20, 'the failpoints were found');
  for (const point of ['none', ...points]) test(`at ${point}`, () => killAt(point));
});

describe('a daemon to whom the kernel says no while it works on networks', { concurrency: 2 }, () => {
  for (const point of points) test(`at ${point}`, () => refuseAt(point));
});

/** What failed left nothing, and the next daemon starts clean. */
async function refuseAt(point: string): Promise<void> {
  const crash = await failAt(point);
  try {
    assert.ok(
      crash.said.some((line) => line.startsWith('failed ')) || tolerant.has(point),
      `nothing failed: ${crash.said.join('; ')}`,
    );
    assert.deepEqual(
      crash.said.filter((line) => line.startsWith('stray ')),
      [],
      crash.said.join('\n'),
    );
  } finally {
    assert.deepEqual(await crash.dispose(), []);
  }
}

async function killAt(point: string): Promise<void> {
  const crash = await crashAt(point);
  const { instance, root, running, created } = crash;
  try {
    const network = await crash.reopen();
    await check(network, instance, root, running);
    if (created) assert.equal(network.get('extra').name, 'extra');
    const before = await kernelState(instance, root);
    await network.recover(new Set(running));
    assert.deepEqual(await kernelState(instance, root), before, 'a second reconcile has nothing to do');
  } finally {
    assert.deepEqual(await crash.dispose(), []);
  }
}

/** What was acknowledged works, and the kernel has nothing else. */
async function check(network: Network, instance: string, root: string, running: string[]): Promise<void> {
  for (const id of ['p1', 'p2', 'p3'])
    assert.equal(network.attachment(id) !== undefined, running.includes(id), id);
  const pods = running.map((id) => network.attachment(id)!);
  await checkGuest(pods.find(({ podId }) => podId === 'p2'));
  for (const pod of pods) {
    const gateway = pod.endpoints[0]!.ipv4?.gateway;
    if (gateway) assert.equal((await inPod(pod, 'ping', '-c1', '-W9', gateway)).code, 0, pod.podId);
  }
  const namespaces = await readdir(join(root, 'netns'));
  assert.deepEqual(namespaces.toSorted(), pods.map((pod) => pod.netnsPath!.split('/').at(-1)!).toSorted());
  const links = (await listLinks()).filter(({ name }) => name.startsWith(linkPrefix(instance)));
  const cables = pods.flatMap((pod) => pod.endpoints).filter(({ interfaceName }) => interfaceName !== '');
  assert.equal(links.length, cables.length, 'one link for each endpoint');
}

/** However far its wiring had come: it gets whole, and can be given back. */
async function checkGuest(pod: Attachment | undefined): Promise<void> {
  if (pod === undefined) return;
  const [link, ...more] = await wireGuest(pod.netnsPath!, { owner: 1_531_072 });
  const [{ ipv4, macAddress }] = pod.endpoints as [Endpoint];
  assert.equal(more.length, pod.endpoints.length - 1);
  assert.equal(link!.macAddress, macAddress);
  assert.deepEqual(link!.addresses, [`${ipv4!.address}/${ipv4!.prefixLength}`]);
  assert.deepEqual(link!.routes[0], { destination: '0.0.0.0/0', gateway: ipv4!.gateway });
  await unwireGuest(pod.netnsPath!);
}

async function kernelState(instance: string, root: string): Promise<unknown> {
  const links = (await listLinks()).map(({ name }) => name);
  const { stdout } = await run('nft', ['list', 'table', 'inet', instance]);
  return {
    links: links
      .filter((name) => name.startsWith(linkPrefix(instance)) || name.startsWith(instance))
      .toSorted(),
    rules: stdout,
    namespaces: (await readdir(join(root, 'netns'))).toSorted(),
  };
}
