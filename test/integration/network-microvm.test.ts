import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { listLinks } from '../../src/host/netlink.ts';
import { type TestDaemon, startDaemon } from '../fixtures/daemon.ts';
import { DockerClient } from '../fixtures/docker-client.ts';

/** What the network of a microVM has that test/integration/isolation-side-by-side.test.ts does not look at. */
describe('a microVM’s network', { concurrency: false }, () => {
  let daemon: TestDaemon;
  let docker: DockerClient;
  const ok = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await docker.run(args);
    assert.equal(code, 0, `docker ${args.join(' ')}: ${stderr}`);
    return stdout.trim();
  };
  const inside = (name: string, line: string): Promise<string> => ok('exec', name, 'sh', '-c', line);

  before(async () => {
    daemon = await startDaemon();
    docker = new DockerClient(daemon.host);
    await ok('network', 'create', '--ipv6', '--subnet', '198.18.77.0/24', 'front');
    await ok('network', 'create', '--internal', '-o', 'com.docker.network.driver.mtu=1280', 'back');
    const serve = ['busybox', 'sh', '-c', 'hostname > /index.html; exec httpd -f -p 80 -h /'];
    await ok('run', '-d', '--name', 'box', '--hostname', 'box', '--network', 'front', ...serve);
    const address = ['--network', 'front', '--ip', '198.18.77.9', '--mac-address', '02:11:22:33:44:66'];
    const more = ['--sysctl', 'net.ipv4.ip_default_ttl=77', '--network-alias', 'other', '-p', '80'];
    await ok(
      'create',
      '--runtime',
      'microvm',
      '--name',
      'vm',
      '--hostname',
      'vm',
      ...address,
      ...more,
      ...serve,
    );
    await ok('network', 'connect', '--alias', 'rear', 'back', 'vm');
    await ok('start', 'vm');
  });
  after(async () => {
    docker[Symbol.dispose]();
    await daemon.close();
  });

  test('is what was asked for: address, MAC, MTU, alias, sysctl, and a second network', async () => {
    const shown = await inside('vm', 'ip address; cat /proc/sys/net/ipv4/ip_default_ttl');
    for (const text of ['198.18.77.9/24', '02:11:22:33:44:66', 'mtu 1280', '\n77'])
      assert.ok(shown.includes(text), `${text}: ${shown}`);
    for (const name of ['vm', 'other']) assert.equal(await inside('box', `wget -qO- http://${name}/`), 'vm');
    assert.equal(await inside('vm', 'wget -qO- http://box/'), 'box');
    const seen = JSON.parse(await ok('inspect', '-f', '{{json .NetworkSettings.Networks}}', 'vm'));
    assert.equal(seen.front.MacAddress, '02:11:22:33:44:66');
    assert.ok((await inside('vm', 'ip address show eth1')).includes(seen.back.IPAddress));
  });

  test('cannot be changed while it runs, and says what to do', async () => {
    await ok('network', 'create', 'late');
    for (const args of [
      ['network', 'connect', 'late', 'vm'],
      ['network', 'disconnect', 'front', 'vm'],
    ]) {
      const { code, stderr } = await docker.run(args);
      assert.equal(code, 1);
      assert.match(stderr, /stop it first/);
    }
    assert.equal(await inside('vm', 'wget -qO- http://box/'), 'box');
  });

  test('outlives the daemon, which then finds nothing to mend', async () => {
    const path = await ok('inspect', '-f', '{{.NetworkSettings.SandboxKey}}', 'vm');
    const port = (await ok('port', 'vm', '80/tcp')).split('\n')[0]!.split(':').at(-1)!;
    const links = async () =>
      (await listLinks(path)).map(({ index, name, mac }) => `${index} ${name} ${mac}`);
    const before = await links();
    await daemon.kill9();
    assert.equal(await (await fetch(`http://127.0.0.1:${port}/`)).text(), 'vm\n');
    await daemon.start();
    assert.deepEqual(await links(), before);
    assert.equal(await inside('vm', 'wget -qO- http://box/'), 'box');
    assert.equal(await inside('box', 'wget -qO- http://vm/'), 'vm');
    assert.match(await ok('stats', '--no-stream', '--format', '{{.NetIO}}', 'vm'), /^[1-9]/);
  });

  test('is there again after a restart, also on a network of IPv6 alone', async () => {
    await ok('stop', '-t', '2', 'vm');
    const spec = { Name: 'six', EnableIPv4: false, EnableIPv6: true };
    await daemon.ok('POST', '/networks/create', spec);
    for (const name of ['front', 'back']) await ok('network', 'disconnect', name, 'vm');
    for (const name of ['vm', 'box']) await ok('network', 'connect', 'six', name);
    await ok('start', 'vm');
    assert.equal(await inside('vm', 'wget -qO- http://box/'), 'box');
    const reached = 'for i in 1 2 3 4 5 6 7 8 9; do wget -qO- http://vm/ && break; sleep 1; done';
    assert.equal(await inside('box', reached), 'vm');
    assert.doesNotMatch(await inside('vm', 'ip route'), /default/);
  });
});
