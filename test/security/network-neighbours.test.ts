import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { wireGuest } from '../../src/host/guest-link.ts';
import { runOk } from '../../src/host/run.ts';
import type { Attachment } from '../../src/network/network.ts';
import { compileFrames, ethernet, icmp, mac, openStation, type Station } from '../fixtures/frames.ts';
import { attachRequest, inPod, networkSpec, openNetwork, type NetworkFixture } from '../fixtures/network.ts';

/** A container may send any frame (NET_RAW is among its usual capabilities): it must not become anybody's router. */
describe('a container that advertises itself as a router', () => {
  let fixture: NetworkFixture;
  let binary: string;
  const stations: Station[] = [];
  before(async () => {
    fixture = await openNetwork({ pool: 1 });
    binary = compileFrames(fixture.root);
  });
  after(async () => {
    for (const station of stations) await station.close();
    assert.deepEqual(await fixture.dispose(), []);
  });

  /** Says that it is the best of routers, and gives everybody an address. */
  async function advertise(pod: Attachment): Promise<void> {
    const own = pod.endpoints[0]!.macAddress;
    const router = Buffer.from([64, 0x08, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0]);
    const prefix = Buffer.from(
      `030440c000002a3000002a3000000000${'fd77112233440000'.padEnd(32, '0')}`,
      'hex',
    );
    const message = Buffer.concat([router, Buffer.from([1, 1]), mac(own), prefix]);
    const station = await openStation(binary, pod.netnsPath!, 'link', 'eth0');
    stations.push(station);
    const address = 'fe80::42:acff:fe11:2';
    await station.send(ethernet('33:33:00:00:00:01', own, 0x86dd, icmp(address, 'ff02::1', 134, message)));
    await delay(300);
  }

  test('is not the host’s, also where the host does not forward IPv6', async () => {
    const pod = await fixture.network.attach('a', attachRequest({ name: 'a' }));
    const bridge = `${fixture.instance}0`;
    await writeFile(`/proc/sys/net/ipv6/conf/${bridge}/forwarding`, '0');
    await advertise(pod);
    const shown = (await runOk('ip', ['-6', 'route'])).stdout + (await runOk('ip', ['-6', 'address'])).stdout;
    assert.ok(!shown.split('\n').some((line) => line.includes(bridge) && line.includes('default')), shown);
    assert.ok(!shown.includes('fd77:1122:3344'), shown);
  });

  test('is not its neighbours’, nor that of a guest who comes after', async () => {
    await fixture.network.create(networkSpec('six', { enableIPv6: true }));
    const on = { networks: [{ network: 'six', endpoint: {} }] };
    const attach = (name: string): Promise<Attachment> =>
      fixture.network.attach(name, attachRequest({ name, ...on }));
    const [rogue, neighbour, vm] = [await attach('rogue'), await attach('neighbour'), await attach('vm')];
    await advertise(rogue);
    const { output } = await inPod(neighbour, 'ip', '-6', 'route');
    assert.ok(!output.includes('fe80::42:acff:fe11:2') && !output.includes('fd77'), output);
    assert.ok(output.includes(`default via ${neighbour.endpoints[0]!.ipv6!.gateway}`), output);
    const [link] = await wireGuest(vm.netnsPath!, { owner: 0 });
    assert.deepEqual(
      link!.routes.map(({ gateway }) => gateway),
      [vm.endpoints[0]!.ipv4!.gateway, vm.endpoints[0]!.ipv6!.gateway, undefined],
    );
    assert.equal(link!.addresses.length, 2);
    assert.equal(link!.sysctls['ipv6/conf/eth0/accept_ra'], '0');
  });
});
