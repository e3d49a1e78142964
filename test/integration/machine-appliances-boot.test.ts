import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { writeHyperV } from '../fixtures/appliances/hyperv.ts';
import { type Sample, samples } from '../fixtures/appliances/samples.ts';
import { isle } from '../fixtures/command-line.ts';
import { startDaemon, type TestDaemon } from '../fixtures/daemon.ts';
import { tinyBootTime, tinyImage, tinyPrompt } from '../fixtures/tiny-guest.ts';

/** Machines of other hypervisors boot here, from the controllers that they knew: one after another, all of it over the command line. */

const directory = mkdtempSync(join(tmpdir(), 'isle-boot-'));
const raw = join(directory, 'tiny.raw');
let daemon: TestDaemon;

before(async () => {
  copyFileSync(tinyImage(), raw);
  truncateSync(raw, 24 << 20);
  daemon = await startDaemon({ busybox: false });
});

after(async () => {
  await daemon.close();
  rmSync(directory, { recursive: true, force: true });
});

async function vm(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  const outcome = await isle(daemon.socket, ['vm', ...args]);
  assert.equal(outcome.code, 0, `${args.join(' ')}: ${outcome.stderr}`);
  return outcome;
}

async function boots(name: string): Promise<void> {
  await vm('start', name);
  const end = Date.now() + 2 * tinyBootTime;
  let panics = 0;
  for (let said = ''; !said.includes(tinyPrompt); said = (await isle(daemon.socket, ['logs', name])).stdout) {
    assert.ok(Date.now() < end, `${name} did not come up: ${said.slice(-2000)}`);
    // Emulated on a host that has no time for it, a kernel may find its timer dead.
    const now = said.split('IO-APIC + timer').length - 1;
    if (now > panics && (panics = now) < 4) await vm('reset', name);
    await sleep(500);
  }
}

const bios: Record<string, Sample> = Object.fromEntries(
  [
    ...['VirtualBox OVA', 'VMware OVA', 'VMware VMX, one file', 'VMware VMX, split', 'VirtualBox .vbox'],
    ...[
      'Hyper-V 1st generation, VMCX',
      'XVA',
      'xl.cfg',
      'Parallels, split',
      'libvirt',
      'qcow2 alone',
      'VHDX alone',
    ],
  ].map((name) => [name, samples[name]!]),
);
const kinds: Record<string, Sample> = {
  ...bios,
  'Hyper-V 2nd generation, VMCX': (place, disk) =>
    writeHyperV(place, disk, { kind: 'vmcx', generation: 2, secure: false }),
};

for (const [index, [kind, sample]] of Object.entries(kinds).entries())
  test(`${kind} boots`, async () => {
    const place = mkdtempSync(join(directory, 'a-'));
    const name = `m${index}`;
    await vm('import', '--name', name, sample(place, raw));
    rmSync(place, { recursive: true });
    await boots(name);
    await vm('destroy', name);
    await vm('remove', '--remove-all-storage', name);
  });

test('a machine that went out as OVA and came back boots again', async () => {
  const place = mkdtempSync(join(directory, 'a-'));
  await vm('import', '--name', 'there', samples['VDI alone']!(place, raw));
  const { stdout } = await vm('export', 'there', join(place, 'out.ova'));
  assert.equal(stdout.trim(), join(place, 'out.ova'));
  await vm('import', '--name', 'back', join(place, 'out.ova'));
  await boots('back');
  await vm('destroy', 'back');
});
