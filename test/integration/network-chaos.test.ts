import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { listLinks } from '../../src/host/netlink.ts';
import { run } from '../../src/host/run.ts';
import { isIsleError } from '../../src/lib/errors.ts';
import { linkPrefix } from '../../src/network/endpoints.ts';
import type { AttachRequest, Network } from '../../src/network/network.ts';
import { attachRequest, inPod, networkSpec, openNetwork } from '../fixtures/network.ts';

const networks = ['bridge', 'n0', 'n1', 'n2'];
const pods = Array.from({ length: 8 }, (_, index) => `pod${index}`);
const pick = <T>(list: readonly T[]): T => list[randomInt(list.length)]!;

test('whatever is done at once, in any order, records and kernel agree in the end', async () => {
  const fixture = await openNetwork({ pool: 0 });
  const { network, instance } = fixture;
  const end = performance.now() + 5000;
  const busy = new Set<string>();
  const worker = async (): Promise<void> => {
    while (performance.now() < end) {
      try {
        await step(network, busy);
      } catch (error) {
        assert.ok(isIsleError(error, 'conflict', 'noSuchNetwork', 'portInUse'), String(error));
      }
    }
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
  await delay(500);
  const alive = pods.flatMap((id) => network.attachment(id) ?? []);
  const endpoints = alive.flatMap((pod) => pod.endpoints);
  const links = (await listLinks()).filter(({ name }) => name.startsWith(linkPrefix(instance)));
  assert.equal(links.length, endpoints.length);
  const addresses = endpoints.flatMap(({ ipv4 }) => ipv4?.address ?? []);
  assert.equal(new Set(addresses).size, addresses.length);
  for (const pod of alive) {
    const { output } = await inPod(pod, 'ip', '-o', 'link');
    const inside = [...output.matchAll(/eth\d+/g)].map(([name]) => name);
    assert.deepEqual(new Set(inside), new Set(pod.endpoints.map(({ interfaceName }) => interfaceName)));
  }
  const published = alive.flatMap((pod) => pod.ports).filter(({ hostIp }) => hostIp === '0.0.0.0');
  const { stdout } = await run('nft', ['list', 'map', 'inet', instance, 'ports4_any']);
  assert.equal(stdout.match(/(tcp|udp) \. \d+ :/g)?.length ?? 0, published.length, stdout);
  assert.deepEqual(await fixture.dispose(), []);
});

async function step(network: Network, busy: Set<string>): Promise<void> {
  const kind = randomInt(10);
  if (kind === 0) {
    await network.create(networkSpec(pick(networks.slice(1)), { internal: randomInt(4) === 0 }));
    return;
  }
  if (kind === 1) return await network.remove(pick(networks.slice(1)));
  // One thing at a time is done to a pod: the engine sees to that.
  const id = pick(pods);
  if (busy.has(id)) return await delay(1);
  busy.add(id);
  try {
    if (kind < 5) await network.attach(id, request(id));
    else if (kind < 7) await network.detach(id);
    else if (kind === 7) await network.connect(id, pick(networks), {});
    else if (kind === 8) await network.disconnect(id, pick(networks));
    else network.rename(id, `name${randomInt(100)}`);
  } finally {
    busy.delete(id);
  }
}

function request(id: string): AttachRequest {
  const chosen = [...new Set([pick(networks), pick(networks)])];
  const protocol = pick(['tcp', 'udp'] as const);
  const ports = randomInt(2) === 0 ? [] : [{ port: 80, protocol, hostIp: '', hostPort: 0 }];
  return attachRequest({
    name: id,
    ports,
    networks: chosen.map((name) => ({ network: name, endpoint: {} })),
  });
}
