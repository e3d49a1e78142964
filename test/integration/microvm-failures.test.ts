import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Exit } from '../../src/engine/runtime.ts';
import { isIsleError } from '../../src/lib/errors.ts';
import type { MicrovmConfig } from '../../src/runtimes/microvm/config.ts';
import type { MicrovmRuntime } from '../../src/runtimes/microvm/runtime.ts';
import { newId } from '../../src/lib/ids.ts';
import { type MicrovmFixture, microvmFixture } from '../fixtures/microvm.ts';

/** What goes wrong with a microVM is told, and nothing of it is left. */
describe('a microVM in trouble', { concurrency: false }, () => {
  let fixture: MicrovmFixture;
  before(async () => {
    fixture = await microvmFixture();
  });
  after(async () => await fixture.dispose());

  async function started(args: string[], use = fixture): Promise<string> {
    const workload = await use.workload({ args });
    await use.runtime.create(workload);
    await use.runtime.start(workload.id);
    return workload.id;
  }

  test('each process of its monitor that is killed ends it, and which one is told', async () => {
    const kill = async (name: string): Promise<{ id: string; exit: Exit }> => {
      const id = await started(['sleep', '1000']);
      process.kill(await processOf(fixture.runtime, id, name), 'SIGKILL');
      return { id, exit: await fixture.runtime.wait(id) };
    };
    const all = await Promise.all(['qemu-system', 'virtiofsd', '/isle/shim'].map(kill));
    const later = await fixture.restart();
    for (const { id, exit } of all) {
      assert.deepEqual(await later.recover(id), { state: 'exited', exit });
      await fixture.runtime.delete(id);
    }
    const [qemu, virtiofsd, shim] = all.map(({ exit }) => exit);
    assert.match(qemu!.reason ?? '', /^QEMU was killed by signal 9/);
    assert.equal(qemu!.code, 137);
    assert.match(virtiofsd!.reason ?? '', /^virtiofsd was killed by signal 9/);
    assert.equal(virtiofsd!.code, 255);
    assert.match(shim!.reason ?? '', /monitor of the microVM was killed/);
    assert.equal(shim!.code, 137);
  });

  test('a guest that hangs answers nothing, is measured from outside, and can be killed', async () => {
    const id = await started(['sleep', '1000']);
    const { runtime } = fixture;
    assert.ok((await runtime.stats(id)).pids.current < 5, 'the guest’s own count');
    process.kill(await processOf(runtime, id, 'qemu-system'), 'SIGSTOP');
    const exec = runtime.exec(id, {
      id: newId(),
      args: ['true'],
      env: ['PATH=/bin'],
      cwd: '/',
      user: '',
      tty: false,
      stdin: false,
      privileged: false,
    });
    const refused = assert.rejects(exec, (error) => isIsleError(error, 'guestUnresponsive', 'conflict'));
    assert.ok((await runtime.stats(id)).memory.usage > 0);
    await runtime.signal(id, 9);
    assert.equal((await runtime.wait(id)).code, 137);
    await refused;
    await runtime.delete(id);
  });

  test('too little memory is refused with the least there must be', async () => {
    const workload = await fixture.workload({ resources: { memory: 32 * 1024 * 1024 } });
    await assert.rejects(fixture.runtime.create(workload), /32 MiB are too little memory .* at least 64 MiB/);
    assert.ok(!(await fixture.runtime.leftovers()).includes(workload.id));
  });

  test('what the guest’s kernel kills for memory is told', async () => {
    const id = await started(['tail', '/dev/zero']);
    const exit = await fixture.runtime.wait(id);
    assert.deepEqual([exit.code, exit.oomKilled], [137, true]);
    await fixture.runtime.delete(id);
  });

  test('the host’s things are refused by name', async () => {
    for (const [changes, why] of [
      [{ pid: 'host' }, /PID namespace with the host/],
      [{ netns: undefined }, /host's network/],
      [
        { devices: [{ hostPath: '/dev/fuse', containerPath: '/dev/fuse', permissions: 'rwm' }] },
        /\/dev\/fuse/,
      ],
      [{ mounts: [{ type: 'bind', source: '/tmp', target: '/proc/x', readOnly: false }] }, /\/proc\/x/],
      [
        { mounts: [{ type: 'bind', source: '/tmp', target: '/x', readOnly: false, propagation: 'rshared' }] },
        /rshared on \/x/,
      ],
      [
        { mounts: [{ type: 'bind', source: '/no/such', target: '/x', readOnly: false }] },
        /does not exist: \/no\/such/,
      ],
      [{ securityOpt: ['seccomp={"defaultAction":"SCMP_ACT_ALLOW"}'] }, /seccomp/],
    ] as const) {
      const workload = await fixture.workload(changes as object);
      await assert.rejects(fixture.runtime.create(workload), (error) => {
        assert.ok(isIsleError(error, 'invalidParameter'), String(error));
        assert.match(error.message, why);
        return true;
      });
      assert.deepEqual(await fixture.runtime.leftovers(), []);
    }
  });
});

/** With a fixture of its own: these guests never come up. */
async function failsToStart(
  config: Partial<MicrovmConfig>,
  kernelArguments: string,
  why: RegExp,
): Promise<void> {
  const fixture = await microvmFixture(config, kernelArguments);
  try {
    const workload = await fixture.workload({ args: ['true'] });
    const start = async () => {
      await fixture.runtime.create(workload);
      await fixture.runtime.start(workload.id);
    };
    await assert.rejects(start, (error: Error) => {
      assert.match(error.message, why);
      return true;
    });
    await fixture.runtime.delete(workload.id);
  } finally {
    await fixture.dispose();
  }
}

test('a kernel that panics is told with its last words', async () => {
  await failsToStart(
    {},
    'panic_on_warn=0 rdinit=/none init=/none',
    /kernel panicked: .*(init|root).*last lines of its console/s,
  );
});

test('a guest that does not come up in time is told with its last words', async () => {
  await failsToStart(
    { bootTimeout: 1 },
    'earlyprintk=serial ignore_loglevel',
    /did not come up in 1 s \(.*console/s,
  );
});

test('a kernel that is none is refused before anything is made', async () => {
  const fixture = await microvmFixture({ kernelSource: join(import.meta.dirname, '../../package.json') });
  try {
    const workload = await fixture.workload({});
    await assert.rejects(fixture.runtime.create(workload), (error) => isIsleError(error, 'guestKernel'));
    assert.deepEqual(await fixture.runtime.leftovers(), []);
  } finally {
    await fixture.dispose();
  }
});

async function processOf(runtime: MicrovmRuntime, id: string, name: string): Promise<number> {
  for (const pid of await runtime.processes(id)) {
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    if (line.split('\0')[0]?.includes(name)) return pid;
  }
  throw new Error(`${name} does not run`);
}
