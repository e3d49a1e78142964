import assert from 'node:assert/strict';
import { close } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import {
  addAddress,
  addBridge,
  addVeth,
  deleteLinks,
  listLinks,
  listRoutes,
  setDefaultRoute,
  setLink,
  setNoIpv6Address,
  setPort,
} from '../../src/host/netlink.ts';
import { changeElements, deleteTable, applyRuleset } from '../../src/host/nftables.ts';
import { NetworkJob } from '../../src/host/network-job.ts';
import { run } from '../../src/host/run.ts';

describe('network jobs', () => {
  const tag = Math.random().toString(36).slice(2, 8);
  const bridge = `nj${tag}`;
  const cable = `nv${tag}`;
  let directory: string;
  let path: string;
  before(async () => {
    directory = await mkdtemp('/tmp/isle-job-');
    path = join(directory, 'ns');
  });
  after(async () => {
    await new NetworkJob().remove(path).run();
    await deleteLinks([cable, bridge]);
    await deleteTable(`nj${tag}`);
    await rm(directory, { recursive: true });
  });

  test('a bridge, a cable into a new namespace, addresses and a route are one call', async () => {
    await new NetworkJob()
      .route([addBridge(bridge, {})])
      .route([setNoIpv6Address(bridge), setLink(bridge, { mtu: 1400, up: true })])
      .create(path)
      .write('/proc/sys/net/ipv4/ip_forward', '1')
      .write('/proc/sys/net/no/such/file', '1', { optional: true })
      .route([setLink('lo', { up: true })])
      .host()
      .route([
        addVeth(
          cable,
          { master: bridge },
          { name: 'eth0', inner: true, mac: Buffer.from('024200000007', 'hex') },
        ),
      ])
      .route([setPort(cable, { isolated: true, hairpin: true }), setLink(cable, { up: true })])
      .inner()
      .route([setLink('eth0', { up: true }), addAddress('eth0', Buffer.from([10, 211, 0, 2]), 24)])
      .route([setDefaultRoute(Buffer.from([10, 211, 0, 1]), 'eth0')])
      .run();
    const links = await listLinks();
    const own = links.find(({ name }) => name === bridge)!;
    assert.equal(own.mtu, 1400);
    assert.equal(links.find(({ name }) => name === cable)!.master, own.index);
    const inner = (await listLinks(path)).find(({ name }) => name === 'eth0')!;
    assert.deepEqual([inner.mac, inner.up], ['02:42:00:00:00:07', true]);
    const { stdout } = await run('bridge', ['-d', 'link', 'show', 'dev', cable]);
    assert.match(stdout, /hairpin on/);
    assert.match(stdout, /isolated on/);
    assert.ok((await listRoutes()).every(({ prefixLength }) => prefixLength <= 128));
  });

  test('a socket made in a namespace belongs to it', async () => {
    const socket = {
      family: 'ipv4',
      type: 'tcp',
      address: Buffer.from([10, 211, 0, 2]),
      port: 0,
      listen: true,
    } as const;
    const { sockets } = await new NetworkJob().enter(path).socket(socket).run();
    assert.ok(sockets[0]!.port > 0);
    close(sockets[0]!.fd, () => {});
    await assert.rejects(new NetworkJob().socket(socket).run(), { code: 'EADDRNOTAVAIL' });
  });

  test('a step that fails ends the job, says why, and leaves no namespace', async () => {
    const other = join(directory, 'other');
    await assert.rejects(
      new NetworkJob()
        .create(other)
        .route([setLink('nosuch', { up: true })])
        .run(),
      /no link nosuch/,
    );
    await assert.rejects(readFile(other), { code: 'ENOENT' });
    await assert.rejects(new NetworkJob().create(path).run(), { code: 'EEXIST' });
    await assert.rejects(new NetworkJob().enter(other).run(), { code: 'ENOENT' });
    await assert.rejects(new NetworkJob().route([addBridge('lo', {})]).run(), { code: 'EEXIST' });
    await new NetworkJob().remove(other).run();
  });

  test('a port that is held is nobody else’s, and one in use cannot be held', async () => {
    const hold = {
      family: 'ipv4',
      type: 'tcp',
      address: Buffer.from([127, 0, 0, 1]),
      port: 0,
      hold: true,
    } as const;
    const { sockets } = await new NetworkJob().socket(hold).run();
    const { fd, port } = sockets[0]!;
    await assert.rejects(new NetworkJob().socket({ ...hold, port, hold: false, listen: true }).run(), {
      code: 'EADDRINUSE',
    });
    await assert.rejects(new NetworkJob().socket({ ...hold, port }).run(), { code: 'EADDRINUSE' });
    await new Promise((resolve) => close(fd, resolve));
    const again = await new NetworkJob().socket({ ...hold, port }).run();
    close(again.sockets[0]!.fd, () => {});
  });

  test('elements change all or not at all', async () => {
    const table = `nj${tag}`;
    await applyRuleset(`table inet ${table} {\nset s {\ntype inet_service\n}\n}\n`);
    const key = (port: number): Buffer => Buffer.from([port >> 8, port & 255]);
    const list = async (): Promise<string> => (await run('nft', ['list', 'set', 'inet', table, 's'])).stdout;
    await changeElements(
      table,
      [80, 443].map((port) => ({ action: 'add', set: 's', key: key(port) })),
    );
    assert.match(await list(), /elements = \{ 80, 443 \}/);
    const bad = [
      { action: 'delete' as const, set: 's', key: key(80) },
      { action: 'delete' as const, set: 's', key: key(81) },
      { action: 'add' as const, set: 's', key: key(82) },
    ];
    await assert.rejects(changeElements(table, bad), { code: 'ENOENT' });
    assert.match(await list(), /elements = \{ 80, 443 \}/);
    await assert.rejects(applyRuleset('nonsense'), /nft failed: .*syntax error/s);
    await deleteTable(table);
    await deleteTable(table);
  });
});
