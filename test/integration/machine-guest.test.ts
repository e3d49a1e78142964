import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { clock } from '../fixtures/guest-machine.ts';
import { tinyGuestWithAgent } from '../fixtures/tiny-agent.ts';
import { tinyBootTime, tinyPrompt } from '../fixtures/tiny-guest.ts';

describe('a virtual machine on a network, and its guest’s agent', () => {
  let daemon: TestDaemon;
  let machine: string;
  before(async () => {
    daemon = await startDaemon();
    await daemon.ok('POST', '/networks/create', { Name: 'lan', EnableIPv6: true });
    await daemon.ok('POST', '/networks/create', {
      Name: 'back',
      Options: { 'com.docker.network.driver.mtu': '1280' },
    });
    await run('box', ['sh', '-c', 'while :; do echo from the box | nc -l -p 81; done'], 'lan');
    const { kernel, initrd, arguments: line } = tinyGuestWithAgent();
    const { json } = await daemon.ok('POST', '/isle/v1/machines', {
      Name: 'vm',
      Container: {
        Hostname: 'machine',
        ExposedPorts: { '80/tcp': {} },
        HostConfig: { NetworkMode: 'lan', PortBindings: { '80/tcp': [{ HostPort: '0' }] } },
      },
      Hardware: {
        Memory: 192 * 2 ** 20,
        Kernel: { Path: kernel, Initrd: initrd, Arguments: `${line} ${clock()}` },
      },
      Disks: [],
    });
    machine = json<{ Id: string }>().Id;
    await daemon.ok('POST', `/containers/${machine}/start`);
    await eventually(async () => (await logs()).includes(tinyPrompt), tinyBootTime);
  });
  after(async () => {
    await daemon?.close();
  });

  async function run(name: string, command: string[], network: string): Promise<void> {
    const spec = { Image: 'busybox', Cmd: command, HostConfig: { NetworkMode: network } };
    const { json } = await daemon.ok('POST', `/containers/create?name=${name}`, spec);
    await daemon.ok('POST', `/containers/${json<{ Id: string }>().Id}/start`);
  }
  const logs = async (): Promise<string> =>
    (await daemon.ok('GET', `/containers/${machine}/logs?stdout=1&stderr=1`)).text;
  /** In the guest, or in a container. */
  const exec = async (command: string, where = machine): Promise<{ code: number; output: string }> => {
    const body = { AttachStdout: true, AttachStderr: true, Cmd: ['sh', '-c', `exec 2>&1; ${command}`] };
    const { Id } = (await daemon.ok('POST', `/containers/${where}/exec`, body)).json<{ Id: string }>();
    const { text } = await daemon.ok('POST', `/exec/${Id}/start`, {});
    const { ExitCode } = (await daemon.ok('GET', `/exec/${Id}/json`)).json<{ ExitCode: number }>();
    return { code: ExitCode, output: text };
  };
  const inside = async (command: string): Promise<string> => {
    const { code, output } = await exec(command);
    assert.equal(code, 0, `${command}: ${output}`);
    return output;
  };
  interface Endpoint {
    IPAddress: string;
    Gateway: string;
    MacAddress: string;
  }
  const endpoints = async (name = machine): Promise<Record<string, Endpoint>> =>
    (await daemon.ok('GET', `/containers/${name}/json`)).json<{
      NetworkSettings: { Networks: Record<string, Endpoint> };
    }>().NetworkSettings.Networks;

  test('has taken the address that the network gave it', async () => {
    const { IPAddress, MacAddress, Gateway } = (await endpoints()).lan!;
    await eventually(async () => (await logs()).includes(`dhcp eth0 ${IPAddress}`), 30_000);
    const shown = await inside('ip address show eth0; ip route; cat /etc/resolv.conf; hostname');
    for (const text of [IPAddress, MacAddress, `default via ${Gateway}`, `nameserver ${Gateway}`, 'machine'])
      assert.ok(shown.includes(text), `${text} in ${shown}`);
  });

  test('finds containers by name, and is found by them and by the host', async () => {
    assert.match(await inside('nc box 81 </dev/null'), /from the box/);
    await inside('mkdir -p /www; echo from the machine >/www/index.html; httpd -h /www');
    assert.match((await exec('wget -qO- http://vm/', 'box')).output, /from the machine/);
    const ports = (await daemon.ok('GET', `/containers/${machine}/json`)).json<{
      NetworkSettings: { Ports: Record<string, { HostPort: string }[]> };
    }>().NetworkSettings.Ports;
    const { HostPort } = ports['80/tcp']![0]!;
    for (const host of ['127.0.0.1', '[::1]'])
      assert.equal(await (await fetch(`http://${host}:${HostPort}/`)).text(), 'from the machine\n');
  });

  test('gets a card for a network that it joins, and loses it when it leaves', async () => {
    await daemon.ok('POST', '/networks/back/connect', {
      Container: machine,
      EndpointConfig: { DriverOpts: { 'isle.nic.model': 'virtio' } },
    });
    const { MacAddress, IPAddress } = (await endpoints()).back!;
    await eventually(
      async () => (await exec(`grep -l ${MacAddress} /sys/class/net/*/address`)).code === 0,
      30_000,
    );
    const link = (
      await inside(`basename $(dirname $(grep -l ${MacAddress} /sys/class/net/*/address))`)
    ).replace(/[^\w]/g, '');
    assert.match(await inside(`cat /sys/class/net/${link}/mtu`), /1280/);
    await inside(`ip link set ${link} up; udhcpc -q -n -t 10 -T 2 -i ${link} -s /etc/udhcpc`);
    assert.ok((await inside(`ip address show ${link}`)).includes(IPAddress));
    await daemon.ok('POST', '/networks/back/disconnect', { Container: machine });
    await inside('udhcpc -q -n -t 10 -T 2 -i eth0 -s /etc/udhcpc');
    assert.equal((await endpoints()).back, undefined);
    await eventually(async () => (await exec(`ls /sys/class/net/${link}`)).code !== 0, 30_000);
    assert.match(await inside('nc box 81 </dev/null'), /from the box/);
    // Another one takes its place.
    await daemon.ok('POST', '/networks/back/connect', { Container: machine });
    await daemon.ok('POST', '/networks/back/disconnect', { Container: machine });
  });

  test('goes on, and is served on, when the daemon is killed and comes back', async () => {
    await daemon.kill9();
    await daemon.start();
    assert.match(await inside('nc box 81 </dev/null'), /from the box/);
    const { IPAddress } = (await endpoints()).lan!;
    const again = await inside(`udhcpc -q -n -t 10 -T 2 -i eth0 -r ${IPAddress} -s /etc/udhcpc`);
    assert.ok(again.includes(IPAddress), again);
  });

  test('files go in and out, and what the guest says of itself is shown', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'isle-copy-'));
    mkdirSync(join(directory, 'd'));
    writeFileSync(join(directory, 'd/file'), 'x'.repeat(300_000));
    const tar = execFileSync('tar', ['-c', '-C', directory, 'd']);
    await daemon.ok('PUT', `/containers/${machine}/archive?path=/root`, tar);
    assert.match(await inside('wc -c </root/d/file'), /300000/);
    const head = await daemon.call('GET', `/containers/${machine}/archive?path=/root/none`);
    assert.equal(head.status, 404, head.text);
    const { text } = await daemon.ok('GET', `/containers/${machine}/archive?path=/root/d`);
    execFileSync('tar', ['-x', '-C', join(directory, 'd')], { input: text });
    assert.equal(readFileSync(join(directory, 'd/d/file'), 'utf8').length, 300_000);
    rmSync(directory, { recursive: true });
    const shown = (await daemon.ok('GET', `/isle/v1/machines/${machine}`)).json<{
      Running: { Guest: { Hostname: string; Addresses: { Address: string }[] } };
    }>();
    assert.equal(shown.Running.Guest.Hostname, 'machine');
    const { IPAddress } = (await endpoints()).lan!;
    assert.ok(shown.Running.Guest.Addresses.some(({ Address }) => Address.startsWith(IPAddress)));
    const tty = await daemon.ok('POST', `/containers/${machine}/exec`, { Tty: true, Cmd: ['sh'] });
    const refused = await daemon.call('POST', `/exec/${tty.json<{ Id: string }>().Id}/start`, { Tty: true });
    assert.match(refused.text, /isle vm console/);
  });

  test('an agent that is gone is told of, and its machine can be stopped by its power button', async () => {
    // Its answer may not come any more.
    await exec('kill $(cat /run/qemu-ga.pid)').catch(() => {});
    const created = await daemon.ok('POST', `/containers/${machine}/exec`, { Cmd: ['true'] });
    const answer = await daemon.call('POST', `/exec/${created.json<{ Id: string }>().Id}/start`, {});
    assert.match(answer.text, /install qemu-guest-agent/);
    await daemon.ok('POST', `/containers/${machine}/stop?t=60`);
    assert.match(await logs(), /power button/);
  });
});

async function eventually(holds: () => Promise<boolean>, patience: number): Promise<void> {
  for (const end = Date.now() + patience; !(await holds()); await delay(200))
    assert.ok(Date.now() < end, 'not in time');
}
