import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { wireGuest, type WiredLink } from '../../src/host/guest-link.ts';
import type { Attachment, Network } from '../../src/network/network.ts';
import {
  attachRequest,
  networkSpec,
  openNetwork,
  serveTcp,
  type NetworkFixture,
} from '../fixtures/network.ts';
import { startTapGuest, type TapGuest } from '../fixtures/tap-guest.ts';

const owner = 1_531_072;

describe('a guest that configures itself', () => {
  let fixture: NetworkFixture;
  let network: Network;
  let vm: Attachment;
  let box: Attachment;
  let links: WiredLink[];
  let guest: TapGuest;
  before(async () => {
    fixture = await openNetwork({ pool: 0 });
    network = fixture.network;
    await network.create(networkSpec('both', { enableIPv6: true }));
    const on = { networks: [{ network: 'both', endpoint: {} }] };
    const ports = [{ port: 80, protocol: 'tcp' as const, hostIp: '', hostPort: 0 }];
    vm = await network.attach(
      'vm',
      attachRequest({ name: 'vm', hostname: 'machine', domainname: 'example.test', ports, ...on }),
    );
    box = await network.attach('box', attachRequest({ name: 'box', hostname: 'box', ...on }));
    links = await wireGuest(vm.netnsPath!, { owner, configuresItself: true });
    await network.serveGuest('vm');
    guest = await startTapGuest(vm.netnsPath!, links[0]!);
  });
  after(async () => {
    await guest?.close();
    assert.deepEqual(await fixture.dispose(), [], 'nothing is left on the host');
  });
  const inside = async (line: string): Promise<string> => {
    const { code, output } = await guest.exec(line);
    assert.equal(code, 0, `${line}: ${output}`);
    return output;
  };
  const own = () => vm.endpoints[0]!;
  const udhcpc = 'busybox udhcpc -f -q -n -t 5 -T 2 -i eth0 -s ./udhcpc -O mtu -O search';

  test('is given the address that the network has for it, and all that belongs to it', async () => {
    const said = await inside(`${udhcpc}; cat got`);
    const { address, gateway } = own().ipv4!;
    for (const text of [
      `ip='${address}'`,
      `router='${gateway}'`,
      `dns='${gateway}'`,
      `serverid='${gateway}'`,
      `subnet='255.255.0.0'`,
      `hostname='machine'`,
      `domain='example.test'`,
      `lease='604800'`,
    ])
      assert.ok(said.includes(text), `${text} in ${said}`);
    assert.match(said, /mtu='\d+'/);
  });

  test('reaches its gateway, its neighbours and their names', async () => {
    await inside(`busybox ping -c1 -W9 ${own().ipv4!.gateway}`);
    const found = await inside('busybox nslookup box');
    assert.ok(found.includes(box.endpoints[0]!.ipv4!.address), found);
    assert.ok(found.includes(box.endpoints[0]!.ipv6!.address), found);
    const server = await serveTcp(box, 81, 'from the container');
    assert.match(await inside('busybox nc box 81 </dev/null'), /from the container/);
    server.close();
  });
});
