import assert from 'node:assert/strict';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { lastLines, readConsole } from './console.ts';
import { layoutOf, type VmPlace } from './layout.ts';
import { readOutcome } from './outcome.ts';

let directory: string;
let place: VmPlace;
before(async () => {
  directory = await mkdtemp('/tmp/isle-outcome-');
  place = {
    ...layoutOf(directory, directory).vm('x'),
    outcome: join(directory, 'outcome'),
    console: join(directory, 'console'),
  };
});
after(async () => await rm(directory, { recursive: true }));

async function reason(outcome: string, console = ''): Promise<string | undefined> {
  await writeFile(place.outcome, outcome);
  await writeFile(place.console, `${console.length.toString(16).padStart(16, '0')}${console}`);
  return (await readOutcome(place)).reason;
}

test('a told end needs no reason', async () => {
  await writeFile(place.outcome, 'code 3\noom 1\nqemu killed 9\n');
  assert.deepEqual(await readOutcome(place), { told: true, oomKilled: true });
});

test('who ended it is named, with its last words', async () => {
  assert.equal(await reason('virtiofsd exited 0\nqemu killed 9\n'), 'QEMU was killed by signal 9');
  assert.equal(
    await reason('virtiofsd exited 0\nqemu exited 1\nqemu-said no such device: x\n'),
    'QEMU ended with exit code 1: no such device: x',
  );
  assert.equal(
    await reason('killed qemu\nvirtiofsd killed 31\nqemu killed 9\n'),
    'virtiofsd was killed by signal 31',
  );
  assert.match(
    (await reason('broken a frame that is too long\nqemu killed 9\n'))!,
    /no sound guest sends \(a frame/,
  );
  assert.match(
    (await reason('qemu exited 0\n', 'booting\r\nlast line\r\n'))!,
    /without .* exit code .*booting \| last line/,
  );
  const panic = '[    1.3] Kernel panic - not syncing: VFS: Unable to mount root fs\r\n[    1.4] more\r\n';
  assert.match(
    (await reason('qemu exited 0\n', panic))!,
    /^the guest's kernel panicked: VFS: Unable to mount root fs \(/,
  );
});

test('what a monitor wrote is bounded and harmless', async () => {
  const said = await reason(`qemu exited 1\nqemu-said ${'\u001b[31m\u0007'.repeat(5000)}\n`);
  assert.ok(said !== undefined && said.length < 1200 && !/\p{Cc}/u.test(said), String(said));
  assert.equal(await reason('rubbish\n\n\n'), 'QEMU ended');
  await rm(place.outcome);
  await symlink('/etc/passwd', place.outcome);
  assert.deepEqual(await readOutcome(place), {
    told: false,
    oomKilled: false,
    reason: 'the monitor of the microVM was killed',
  });
  await rm(place.outcome);
});

test('a console’s ring is put in order; rubbish in its place is nothing', async () => {
  const ring = Buffer.alloc(64 * 1024, 'b');
  ring.write('end', 5);
  const written = 64 * 1024 + 8;
  await writeFile(place.console, Buffer.concat([Buffer.from(written.toString(16).padStart(16, '0')), ring]));
  const text = await readConsole(place.console);
  assert.equal(text.length, 64 * 1024);
  assert.ok(text.endsWith('end'));
  await writeFile(place.console, 'not a ring');
  assert.equal(await readConsole(place.console), '');
  assert.deepEqual(lastLines('\u001b[1mone\u001b[0m\r\n\r\ntwo\u0000\nthree', 2), ['two', 'three']);
});
