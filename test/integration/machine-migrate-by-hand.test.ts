import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { MachineHardware, MachineSpec } from '../../src/engine/machine.ts';
import { withQmp } from '../../src/host/qmp/connect.ts';
import type { Qmp } from '../../src/host/qmp/qmp.ts';
import { isIsleError } from '../../src/lib/errors.ts';
import { migrateMachine } from '../../src/runtimes/machine/control/migrate.ts';
import { HandMachine, machineDisk, machineSpec } from '../fixtures/by-hand.ts';
import { tinyGuest, tinyPrompt } from '../fixtures/tiny-guest.ts';

const directory = mkdtempSync(join(tmpdir(), 'isle-migrate-'));
after(() => rmSync(directory, { recursive: true, force: true }));
const never = new AbortController().signal;
const mib = 2 ** 20;

test('a running counter misses no tick, and what it writes is on the disk', async () => {
  await using machine = await boot('counter');
  machine.type(
    'i=0; while :; do echo tick $i; echo $i | dd of=/dev/vda bs=512 conv=sync,notrunc 2>/dev/null; i=$((i+1)); sleep 0.05; done\n',
  );
  await machine.until(/tick 20\r/);
  const progress: [number, number][] = [];
  const { pausedMs } = await migrateMachine(machine.live, {
    signal: never,
    onProgress: (done, total) => void progress.push([done, total]),
  });
  const second = machine.second!;
  assert.equal(machine.child.exitCode, 0);
  const last = Number(/.*tick (\d+)\r/s.exec(machine.output)![1]);
  await second.until(new RegExp(`tick ${last + 30}\\r`));
  const ticks = [...`${machine.output}${second.output}`.matchAll(/tick (\d+)\r/g)].map((match) =>
    Number(match[1]),
  );
  assert.deepEqual(
    ticks,
    Array.from({ length: ticks.length }, (_, at) => at),
  );
  assert.ok(pausedMs > 0 && pausedMs < 5000, `${pausedMs} ms`);
  assert.ok(!existsSync(join(directory, 'counter/migrate.sock')));
  await second.quit();
  const raw = join(directory, 'counter/raw');
  execFileSync('qemu-img', [
    'convert',
    '-f',
    'qcow2',
    '-O',
    'raw',
    join(directory, 'counter/vda.qcow2'),
    raw,
  ]);
  const written = Number.parseInt(readFileSync(raw).subarray(0, 16).toString('latin1'), 10);
  assert.ok(
    written > last && written <= ticks.at(-1)!,
    `${written} was written, after ${last} and before ${ticks.at(-1)}`,
  );
});

test('a migration that is given up, or whose new QEMU dies, leaves the guest where it was', async () => {
  await using machine = await boot('given-up');
  machine.type('i=0; while :; do echo tick $i; i=$((i+1)); sleep 0.05; done\n');
  await machine.until(/tick 5\r/);
  const abort = new AbortController();
  const second = machine.live.secondMonitor;
  const meddled = (command: string, meddle: () => unknown) => async () => {
    const made = await second();
    return { ...made, qmp: before(command, made.qmp, meddle) };
  };
  machine.live.secondMonitor = meddled('migrate-incoming', () => abort.abort(new Error('enough')));
  const given = migrateMachine(machine.live, { signal: abort.signal });
  await assert.rejects(given, /enough/);
  await goesOn(machine);
  machine.live.secondMonitor = meddled('cont', () => machine.second!.kill());
  await assert.rejects(migrateMachine(machine.live, { signal: never }), (error) =>
    isIsleError(error, 'guestGone'),
  );
  await goesOn(machine);
  machine.live.secondMonitor = second;
  await migrateMachine(machine.live, { signal: never });
  await machine.second!.until(/tick \d+\r\ntick \d+\r/);
});

test('what cannot be moved is refused by name, before anything happens', async () => {
  const refused: [Partial<MachineSpec>, RegExp][] = [
    [{ shares: [{ source: '/srv', tag: 'data', readOnly: true }] }, /its shared directory data/],
    [{ pci: ['0000:01:00.0'] }, /PCI device 0000:01:00.0/],
    [{ usb: [{ vendor: 0x1d6b, product: 2 }] }, /USB device 1d6b:0002/],
    [{ tpm: true }, /its TPM/],
  ];
  for (const [more, why] of refused) {
    const hardware: MachineHardware = { spec: machineSpec([], more), directory, disks: [] };
    const live = new Proxy({ hardware } as HandMachine['live'], {
      get: (one, key) => {
        if (key === 'hardware') return one.hardware;
        throw new Error(`touched ${String(key)}`);
      },
    });
    await assert.rejects(
      migrateMachine(live, { signal: never }),
      (error) => isIsleError(error, 'conflict') && why.test(error.message),
    );
  }
});

/** Something happens before it hears `command`. */
function before(command: string, qmp: Qmp, happen: () => unknown): Qmp {
  const execute: Qmp['execute'] = async (asked, ...rest) => {
    if (asked === command) await happen();
    return await qmp.execute(asked, ...rest);
  };
  return new Proxy(qmp, {
    get(one, key) {
      if (key === 'execute') return execute;
      const value: unknown = Reflect.get(one, key, one);
      return typeof value === 'function' ? (value.bind(one) as unknown) : value;
    },
  });
}

async function goesOn(machine: HandMachine): Promise<void> {
  const { length } = machine.output;
  const late = Date.now() + 60_000;
  while (!/tick \d+\r\ntick \d+\r/.test(machine.output.slice(length))) {
    assert.ok(Date.now() < late, machine.output.slice(-500));
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await withQmp(machine.socket, async (qmp) => {
    assert.deepEqual(await qmp.execute('query-jobs'), []);
  });
}

async function boot(name: string): Promise<HandMachine> {
  const place = join(directory, name);
  mkdirSync(place);
  const disk = join(place, 'vda.qcow2');
  execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', disk, '64M']);
  const { kernel, initrd, arguments: line } = tinyGuest();
  const hardware: MachineHardware = {
    spec: machineSpec([machineDisk('vda')], { memory: 128 * mib }),
    directory: place,
    disks: [{ path: disk, chain: [] }],
  };
  const machine = await HandMachine.start(place, hardware, [
    ...['-kernel', kernel, '-initrd', initrd, '-append', line],
    ...['-serial', 'stdio', '-no-reboot'],
  ]);
  await machine.until(new RegExp(tinyPrompt));
  return machine;
}
