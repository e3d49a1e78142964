import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { continueFrom, saveMemory } from '../../src/runtimes/machine/control/save.ts';
import { HandMadeMachine } from '../fixtures/live-machine.ts';

describe('a guest’s memory on the disk', { concurrency: false }, () => {
  test('a guest goes on from it in another QEMU; what is damaged is refused', async () => {
    await using machine = new HandMadeMachine();
    await machine.booted();
    await machine.shell('word=kept; echo disk >/dev/vda; sync');
    const path = join(machine.directory, 'memory');
    // What a QEMU that was taken over may have put there.
    const canary = join(machine.directory, 'canary');
    writeFileSync(canary, 'whole');
    symlinkSync(canary, `${path}.part`);
    symlinkSync(canary, join(machine.directory, 'save.sock'));
    await saveMemory(machine, path);
    await machine.ended();
    assert.equal(readFileSync(canary, 'utf8'), 'whole');
    assert.ok(!existsSync(`${path}.part`));
    assert.ok(statSync(path).size < 128 * 2 ** 20);

    const next = { directory: machine.directory, boots: false, args: ['-incoming', 'defer'] };
    {
      await using again = new HandMadeMachine(next);
      await continueFrom(again, { path });
      assert.equal(await again.shell('echo $word; head -c 4 /dev/vda'), 'kept\ndisk');
    }
    const whole = readFileSync(path);
    for (const content of [whole.subarray(0, whole.length / 2), flipped(whole), Buffer.from('nothing')]) {
      writeFileSync(path, content);
      await using again = new HandMadeMachine(next);
      await assert.rejects(
        continueFrom(again, { path }),
        /the saved memory cannot be used.*managedsave-remove/,
      );
    }
  });

  test('a guest goes on when its memory cannot be written', async () => {
    await using machine = new HandMadeMachine();
    await machine.booted();
    await machine.shell('word=kept');
    const path = join(machine.directory, 'missing/memory');
    await assert.rejects(saveMemory(machine, path), /ENOENT/);
    assert.equal(await machine.shell('echo $word'), 'kept');
    machine.hardware.spec.shares.push({ source: '/srv', tag: 'srv', readOnly: false });
    await assert.rejects(saveMemory(machine, path), /its share srv/);
  });
});

function flipped(content: Buffer): Buffer {
  const copy = Buffer.from(content);
  copy[copy.length >> 1]! ^= 0xff;
  return copy;
}
