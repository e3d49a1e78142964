import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { isle, spawnIsle, Terminal } from '../fixtures/command-line.ts';
import { type ServedMachines, serveMachines } from '../fixtures/fake-machines.ts';

describe('isle vm', { concurrency: false }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'isle-vm-cli-'));
  const host = join(directory, 'docker.sock');
  let served: ServedMachines;
  before(async () => {
    served = await serveMachines(host);
  });
  after(async () => {
    await served.close();
    rmSync(directory, { recursive: true });
  });

  const vm = async (line: string, options?: Parameters<typeof isle>[2]) =>
    await isle(host, ['vm', ...line.split(' ')], options);
  const ok = async (line: string, options?: Parameters<typeof isle>[2]) => {
    const outcome = await vm(line, options);
    assert.equal(outcome.code, 0, `${line}: ${outcome.stderr}`);
    return outcome.stdout;
  };

  test('create makes and starts, list and show say what there is', async () => {
    const made = await vm(
      'create web --memory 256 --vcpus 2,maxvcpus=4 --disk size=1 --os-variant debian12 -p 8080:80',
    );
    assert.deepEqual([made.code, made.stdout], [0, 'web\n'], made.stderr);
    assert.match(await ok('list'), /^NAME +STATE .*\nweb +running +2 +256MiB +debian12/);
    assert.equal(await ok('list --format {{.Name}}:{{.State}}:{{.VCPUs}}'), 'web:running:2\n');
    const shown = await ok('show web');
    assert.match(shown, /^Name: +web\n/);
    assert.match(shown, /CPUs: +2, up to 4, /);
    assert.match(shown, /Disk vda: +web-vda, .* of 1GiB, qcow2, virtio\n/);
    const body = JSON.parse(await ok('show -f json web')) as { Hardware: { Vcpus: number } };
    assert.equal(body.Hardware.Vcpus, 2);
    assert.equal(await ok('domstate web'), 'running\n');
    assert.match(await ok('domblklist web'), /^TARGET .*\nvda +web-vda +qcow2 +virtio /);
    assert.match(await ok('domiflist web'), /^NETWORK +MODEL +MAC /);
    assert.match(await ok('domifaddr web'), /^NAME +MAC ADDRESS +PROTOCOL +ADDRESS\n/);
  });

  test('virsh’s words switch it', async () => {
    assert.equal(await ok('suspend web'), 'web\n');
    assert.match(await ok('list'), /web +paused/);
    await ok('resume web');
    await ok('reboot web');
    await ok('reset web');
    await ok('destroy web');
    assert.equal(await ok('list -q'), '');
    assert.match(await ok('list --all'), /web +shut off/);
    await ok('start web');
    assert.equal(await ok('shutdown --wait web'), 'web\n');
    assert.equal(await ok('domstate web'), 'shut off\n');
  });

  test('edit changes what is said by flags, or in the editor', async () => {
    await ok('edit --memory 512 --description x web');
    const editor = join(directory, 'editor');
    writeFileSync(
      editor,
      '#!/bin/sh\nsed -i "s/^Memory: 512MiB/Memory: 1GiB/; /^Description/d; s/^Tpm: false/Tpm: true/" "$1"\n',
    );
    chmodSync(editor, 0o755);
    assert.equal(await ok('edit web', { env: { EDITOR: editor } }), 'web\n');
    const { Hardware } = JSON.parse(await ok('show -f json web')) as { Hardware: Record<string, unknown> };
    assert.deepEqual([Hardware.Memory, Hardware.Description, Hardware.Tpm], [2 ** 30, undefined, true]);
    assert.match((await vm('edit web', { env: { EDITOR: 'true' } })).stderr, /nothing was changed/);
    const wrong = await vm('edit web', { env: { EDITOR: 'sed -i s/^Vcpus/Vcpu/' } });
    assert.match(wrong.stderr, /unknown field Vcpu \(did you mean "Vcpus"\?\)/);
    assert.equal(wrong.code, 1);
    assert.match((await vm('edit web', { env: { EDITOR: 'false' } })).stderr, /editor false ended with 1/);
    await ok('edit --boot vda web');
  });

  test('names: renamed, suggested, kept apart from containers', async () => {
    await ok('rename web web2');
    const missing = await vm('show wep2');
    assert.match(missing.stderr, /wep2[^]*did you mean web2\?/);
    assert.equal(missing.code, 1);
    const completed = await isle(host, ['__complete', 'vm', 'show', 'w']);
    assert.match(completed.stdout, /^web2\tdebian12 /);
    await ok('rename web2 web');
    const taken = await vm('create web --disk size=1');
    assert.match(taken.stderr, /already in use/);
    const odd = await vm('create ../x --disk size=1');
    assert.match(odd.stderr, /Invalid container name/);
  });

  test('autostart by order', async () => {
    await ok('autostart --order 10 --delay 3 web');
    assert.equal((JSON.parse(await ok('show -f json web')) as { Autostart: boolean }).Autostart, true);
    await ok('autostart --disable web');
    assert.equal((JSON.parse(await ok('show -f json web')) as { Autostart: boolean }).Autostart, false);
  });

  test('the console shows what was, then what comes, and is left by Ctrl-]', async () => {
    await ok('start web');
    await using terminal = new Terminal(host, ['vm', 'console', 'web']);
    await terminal.until(/Ctrl-\] leaves[^]*booting[^]*login: /);
    terminal.type('\x1d');
    assert.equal(await terminal.code(), 0);
    assert.match(terminal.shown, /detached; web runs on. To come back: isle vm console web/);
    const looked = await vm('console --no-stdin nosuch');
    assert.match(looked.stderr, /No such virtual machine: nosuch/);
  });

  test('start waits for a prompt, and shows what there was when none comes', async () => {
    await ok('destroy web');
    assert.match((await vm('console web')).stderr, /web is off\n +start it: isle vm start web/);
    assert.equal(await ok('start --wait web'), 'web\n');
    await ok('destroy web');
    served.fake.world.programs.guest = async (_, io) => {
      io.out('booting\r\nKernel panic\r\n');
      await once(io.dead, 'abort');
      return 0;
    };
    const picture = join(directory, 'boot.png');
    const failed = await vm(`start --wait-timeout 1 --screenshot ${picture} web`);
    assert.equal(failed.code, 1);
    assert.match(
      failed.stderr,
      /last lines of its console:\n {2}booting\n {2}Kernel panic\n[^]*shows no login prompt.* after 1 s\n +its screen is in .*boot.png; it runs on: isle vm console web/,
    );
    assert.ok(existsSync(picture));
    delete served.fake.world.programs.guest;
    await ok('edit --graphics none web');
  });

  test('the screen: a picture, and a socket for viewers with a ticket for each', async () => {
    await ok('edit --graphics vnc web');
    await ok('destroy web');
    const off = await vm('display web');
    assert.match(off.stderr, /does not run/);
    await ok('start web');
    assert.equal(await ok(`screenshot web ${directory}/a.png`), `${directory}/a.png\n`);
    assert.equal(readFileSync(join(directory, 'a.png'), 'latin1'), '\x89PNG');
    const path = join(directory, 'vnc.sock');
    const shown = spawnIsle(host, ['vm', 'display', '--socket', path, 'web']);
    const exited = once(shown, 'exit');
    const [line] = (await once(shown.stdout!, 'data')) as [Buffer];
    assert.equal(line.toString(), `${path}\n`);
    assert.equal(statSync(path).mode & 0o777, 0o600);
    for (const _ of [1, 2]) {
      const viewer = connect(path);
      assert.equal(String((await once(viewer, 'data'))[0]), 'RFB 003.008\n');
      viewer.write('hello');
      assert.equal(String((await once(viewer, 'data'))[0]), 'hello');
      viewer.destroy();
    }
    await ok('destroy web');
    const [code] = (await exited) as [number];
    assert.equal(code, 0);
    assert.ok(!existsSync(path));
  });

  test('a ticket opens once, soon, and only as it was given', async () => {
    await ok('start web');
    const { Ticket } = JSON.parse(await ok('display --ticket web')) as { Ticket: string };
    const { machines } = served.fake.engine;
    const screen = await machines.display(Ticket);
    assert.equal(String((await once(screen, 'data'))[0]), 'RFB 003.008\n');
    screen.destroy();
    await assert.rejects(machines.display(Ticket), { code: 'forbidden' });
    await assert.rejects(machines.display(`${Ticket.slice(1)}x`), { code: 'forbidden' });
    const { ticket } = machines.displayTicket('web');
    await ok('destroy web');
    await assert.rejects(machines.display(ticket), { code: 'conflict' });
    await ok('start web');
    await assert.rejects(machines.display(ticket), { code: 'forbidden' });
    const old = machines.displayTicket('web');
    const now = performance.now.bind(performance);
    performance.now = () => now() + 31_000;
    try {
      await assert.rejects(machines.display(old.ticket), { code: 'forbidden' });
    } finally {
      performance.now = now;
    }
    const kept = Array.from({ length: 300 }, () => machines.displayTicket('web').ticket);
    await assert.rejects(machines.display(kept[0]!), { code: 'forbidden' });
    (await machines.display(kept.at(-1)!)).destroy();
    await ok('destroy web');
  });

  test('remove asks about disks, and needs to be told where it cannot ask', async () => {
    const silent = await vm('remove web');
    assert.match(silent.stderr, /web has disks: say whether they go, too/);
    assert.equal(silent.code, 1);
    {
      await using terminal = new Terminal(host, ['vm', 'remove', 'web']);
      await terminal.until(/Remove the disks of web, too\?/);
      terminal.type('c\r');
      assert.equal(await terminal.code(), 1);
      assert.match(terminal.shown, /cancelled; web stays/);
    }
    {
      await using terminal = new Terminal(host, ['vm', 'undefine', 'web']);
      await terminal.until(/\[c\]ancel: /);
      terminal.type('n\r');
      assert.equal(await terminal.code(), 0);
    }
    await ok('create again --no-start --disk vol=web-vda');
    await ok('remove --disks -f again');
    assert.equal(await ok('list --all -q'), '');
  });

  test('what is refused is said once, with a hint', async () => {
    const none = await vm('create');
    assert.equal(
      none.stderr,
      'isle: nothing to boot from\n      say --image FILE, --cdrom FILE, --disk path=FILE, --import FILE, or --boot kernel=FILE\n',
    );
    assert.match((await vm('create --locations x')).stderr, /unknown flag: --locations/);
    assert.match((await vm('creat')).stderr, /did you mean: isle vm create\?/);
    assert.match(await ok('create --dry-run dry --disk size=1'), /"Name": "dry"/);
  });
});
