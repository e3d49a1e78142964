import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { unmount } from '../../src/host/mount.ts';
import {
  addInterface,
  machineDisk,
  machineFixture,
  type MachineFixture,
  tinySpec,
} from '../fixtures/machine.ts';

let machines: MachineFixture;
before(async () => {
  machines = await machineFixture();
});
after(async () => await machines.dispose());

const never = new AbortController().signal;

test('a guest that is moved into another QEMU misses no tick, and its connection and its disk stay', async () => {
  const { runtime } = machines;
  const workload = await machines.workload(tinySpec({ disks: [machineDisk()] }));
  addInterface(workload.netns!);
  await using neighbour = await neighbourOf(workload.netns!);
  await runtime.create(workload);
  await runtime.start(workload.id);
  await machines.console(workload, 'tiny login:');
  await machines.type(workload, 'ip link set eth0 up; ip addr add 10.99.0.2/24 dev eth0');
  const counter = (word: string): string => `i=0; while :; do echo ${word} $i; i=$((i+1)); sleep 0.1; done`;
  await machines.type(workload, `(${counter('tick')}) & true`);
  await machines.type(workload, `nc -l -p 99 -e sh -c '${counter('packet')}' & true`);
  using connection = connect(neighbour.netns);
  await connection.until(5);
  const { qemuVersion } = await runtime.machines.info(workload.id);
  for (const time of [1, 2]) {
    const { pausedMs } = await runtime.machines.migrate(workload.id, { signal: never });
    assert.ok(pausedMs > 0, `${pausedMs}`);
    const last = connection.packets().length;
    await connection.until(last + 20);
    const ticks = ticksOf(await machines.console(workload, new RegExp(`tick ${time * 30}\\b`)));
    assert.deepEqual(
      ticks,
      Array.from({ length: ticks.length }, (_, at) => at),
    );
  }
  const packets = connection.packets();
  assert.deepEqual(
    packets,
    Array.from({ length: packets.length }, (_, at) => at),
  );
  assert.equal((await runtime.machines.info(workload.id)).qemuVersion, qemuVersion);
  await machines.type(workload, 'killall sh nc; echo written | dd of=/dev/vda conv=fsync 2>/dev/null');
  await machines.restart();
  assert.match(await machines.type(workload, 'head -c 7 /dev/vda; echo'), /written/);
  await machines.runtime.signal(workload.id, 9);
  await machines.runtime.wait(workload.id);
  await machines.runtime.delete(workload.id);
});

function ticksOf(console: string): number[] {
  return [...console.matchAll(/tick (\d+)/g)].map((match) => Number(match[1]));
}

/** At the other end of the network, with an address. */
async function neighbourOf(netns: string): Promise<AsyncDisposable & { netns: string }> {
  const own = `${netns}-neighbour`;
  await writeFile(own, '');
  execFileSync('unshare', [`--net=${own}`, 'true']);
  const inside = (place: string, ...args: string[]) =>
    execFileSync('nsenter', [`--net=${place}`, 'ip', ...args]);
  inside(netns, 'link', 'set', 'other0', 'netns', own);
  inside(own, 'address', 'add', '10.99.0.1/24', 'dev', 'other0');
  inside(own, 'link', 'set', 'other0', 'up');
  return {
    netns: own,
    async [Symbol.asyncDispose]() {
      await unmount(own, { detach: true });
    },
  };
}

/** To the guest's port 99, from its neighbour on the network. */
function connect(netns: string) {
  let text = '';
  let child: ChildProcess | undefined;
  const over = new AbortController();
  void (async () => {
    while (!over.signal.aborted && text === '') {
      child = spawn('nsenter', [`--net=${netns}`, 'busybox', 'nc', '10.99.0.2', '99'], {
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      child.stdout!.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      await once(child, 'close');
      await sleep(200);
    }
  })();
  const packets = (): number[] => [...text.matchAll(/packet (\d+)\n/g)].map((match) => Number(match[1]));
  return {
    packets,
    async until(count: number): Promise<void> {
      for (const late = Date.now() + 60_000; packets().length < count; await sleep(50))
        assert.ok(Date.now() < late, `only ${packets().length} of ${count}: ${text.slice(-200)}`);
    },
    [Symbol.dispose]() {
      over.abort();
      child?.kill('SIGKILL');
    },
  };
}
