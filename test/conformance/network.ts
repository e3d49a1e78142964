import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { isIsleError, type ErrorCode } from '../../src/lib/errors.ts';
import type { Network } from '../../src/network/network.ts';
import { attachRequest, networkSpec } from '../fixtures/network.ts';

/** What an implementation gives the suite. */
export interface NetworkUnderTest {
  network: Network;
  /** The same network as a freshly started daemon would make it, after the old one was closed. */
  restart(running: readonly string[]): Promise<Network>;
  dispose(): Promise<unknown>;
}

/** The promises of `src/network/network.ts`, for every implementation. */
export function networkConformance(name: string, open: () => Promise<NetworkUnderTest>): void {
  describe(`network contract: ${name}`, () => {
    let fixture: NetworkUnderTest;
    let network: Network;
    before(async () => {
      fixture = await open();
      network = fixture.network;
    });
    after(async () => await fixture.dispose());
    const refuses = (work: Promise<unknown>, code: ErrorCode): Promise<void> =>
      assert.rejects(work, (error) => isIsleError(error, code));

    test('the built-in networks are there and stay', async () => {
      for (const builtIn of ['bridge', 'host', 'none']) {
        assert.ok(network.get(builtIn).builtIn);
        await refuses(network.remove(builtIn), 'conflict');
      }
    });

    test('a network is found by id, name and prefix until it is removed', async () => {
      const made = await network.create(networkSpec('found', { labels: { a: 'b' } }));
      for (const key of [made.id, 'found', made.id.slice(0, 12)]) assert.deepEqual(network.get(key), made);
      assert.deepEqual(made.labels, { a: 'b' });
      assert.match(made.ipam.config[0]!.subnet, /^\d+\.\d+\.\d+\.\d+\/\d+$/);
      await refuses(network.create(networkSpec('found')), 'conflict');
      await network.remove(made.id);
      assert.throws(
        () => network.get('found'),
        (error) => isIsleError(error, 'noSuchNetwork'),
      );
      assert.throws(
        () => network.get(''),
        (error) => isIsleError(error, 'noSuchNetwork'),
      );
    });

    test('attach gives what attachment says, once, and detach takes it, any number of times', async () => {
      const ports = [{ port: 80, protocol: 'tcp' as const, hostIp: '', hostPort: 0 }];
      const given = await network.attach('pod', attachRequest({ ports }));
      assert.deepEqual(network.attachment('pod'), given);
      assert.ok(given.ports.every(({ hostPort }) => hostPort > 0));
      assert.deepEqual(network.get('bridge').endpoints.pod, given.endpoints[0]);
      await refuses(network.attach('pod', attachRequest()), 'conflict');
      const again = { ...ports[0]!, hostPort: given.ports[0]!.hostPort };
      await refuses(network.attach('other', attachRequest({ ports: [again] })), 'portInUse');
      assert.equal(network.attachment('other'), undefined);
      await network.detach('pod');
      await network.detach('pod');
      await network.detach('never');
      assert.equal(network.attachment('pod'), undefined);
      assert.deepEqual(network.get('bridge').endpoints, {});
      await network.attach('other', attachRequest({ ports: [again] }));
      await network.detach('other');
    });

    test('an unknown network is refused by name, and nothing is kept', async () => {
      const networks = ['bridge', 'missing'].map((one) => ({ network: one, endpoint: {} }));
      await refuses(network.attach('lost', attachRequest({ networks })), 'noSuchNetwork');
      assert.equal(network.attachment('lost'), undefined);
    });

    test('endpoints come and go, and hold their network', async () => {
      const made = await network.create(networkSpec('joined'));
      await network.attach('p9', attachRequest({ name: 'guest' }));
      const endpoint = await network.connect('p9', made.id, { aliases: ['visitor'] });
      assert.ok(['guest', 'visitor'].every((one) => endpoint.dnsNames.includes(one)));
      assert.deepEqual(network.attachment('p9')!.endpoints[1], endpoint);
      await refuses(network.connect('p9', made.id, {}), 'conflict');
      await refuses(network.remove('joined'), 'conflict');
      network.rename('p9', 'friend');
      const renamed = network.attachment('p9')!.endpoints[1]!.dnsNames;
      assert.ok(renamed.includes('friend') && !renamed.includes('guest'));
      assert.deepEqual(Object.keys(await network.stats('p9')).length, 2);
      await network.disconnect('p9', made.id);
      await refuses(network.disconnect('p9', made.id), 'conflict');
      await network.detach('p9');
      await network.remove('joined');
    });

    test('many pods at once get addresses of their own', async () => {
      const ids = Array.from({ length: 12 }, (_, index) => `many${index}`);
      const pods = await Promise.all(ids.map((id) => network.attach(id, attachRequest({ name: id }))));
      assert.equal(new Set(pods.map((pod) => pod.endpoints[0]!.ipv4!.address)).size, 12);
      assert.equal(new Set(pods.map((pod) => pod.netnsPath)).size, 12);
      await Promise.all(ids.map((id) => network.detach(id)));
    });

    test('a restart keeps what runs, forgets what does not, and a second reconcile changes nothing', async () => {
      await network.create(networkSpec('kept'));
      const on = { networks: [{ network: 'kept', endpoint: {} }] };
      const alive = await network.attach('alive', attachRequest(on));
      await network.attach('dead', attachRequest(on));
      await network.close();
      network = await fixture.restart(['alive']);
      assert.deepEqual(network.attachment('alive'), alive);
      assert.equal(network.attachment('dead'), undefined);
      assert.deepEqual(Object.keys(network.get('kept').endpoints), ['alive']);
      const before = network.list();
      await network.recover(new Set(['alive']));
      assert.deepEqual(network.list(), before);
      await network.recover(new Set());
      assert.equal(network.attachment('alive'), undefined);
      await network.remove('kept');
    });
  });
}
