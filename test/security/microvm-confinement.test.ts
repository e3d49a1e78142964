import assert from 'node:assert/strict';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { test } from 'node:test';
import { monitorInstance } from '../../src/runtimes/microvm/parts.ts';
import { qemuUser } from '../../src/runtimes/confined/dressing.ts';
import { mountTable } from '../../src/host/mount.ts';
import { microvmFixture } from '../fixtures/microvm.ts';

/** What a guest would have that broke out of its QEMU, or of virtiofsd: read from outside, as the kernel holds it. */
test('a monitor is nobody, holds nothing of the host, and sees nothing of it', async () => {
  const fixture = await microvmFixture();
  const workload = await fixture.workload({ args: ['sleep', '1000'] });
  try {
    const { hostId, size } = workload.idMap!;
    await fixture.runtime.create(workload);
    await fixture.runtime.start(workload.id);
    const pids = await fixture.runtime.processes(workload.id);
    const names = await Promise.all(
      pids.map(async (pid) => (await readFile(`/proc/${pid}/comm`, 'utf8')).trim()),
    );
    assert.deepEqual(names.toSorted(), ['qemu-system-x86', 'shim', 'virtiofsd']);
    for (const [index, pid] of pids.entries()) {
      const name = names[index]!;
      const status = await statusOf(pid);
      const user = hostId + (name === 'qemu-system-x86' ? qemuUser : 0);
      assert.deepEqual(
        [...new Set([...status.Uid!, ...status.Gid!])],
        [String(user)],
        `${name} is nobody of the host`,
      );
      assert.ok(status.Groups!.every((group) => Number(group) >= hostId && Number(group) < hostId + size));
      assert.equal(status.NoNewPrivs![0], '1');
      assert.equal(status.Seccomp![0], '2', `${name} is filtered`);
      const capabilities = BigInt(`0x${status.CapEff![0]}`);
      assert.equal(capabilities & dangerous, 0n, `${name} has no capability that reaches beyond files`);
      if (name === 'qemu-system-x86') {
        assert.equal(capabilities, 0n);
        assert.equal(BigInt(`0x${status.CapPrm![0]}`), 0n);
        assert.ok(Number(status.Seccomp_filters![0]) >= 2, 'its own filter beside the container’s');
      }
      for (const namespace of ['user', 'mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup'])
        assert.notEqual(
          await readlink(`/proc/${pid}/ns/${namespace}`),
          await readlink(`/proc/self/ns/${namespace}`),
          `${name} has its own ${namespace} namespace`,
        );
      const groups = await readFile(`/proc/${pid}/cgroup`, 'latin1');
      for (const line of groups.trim().split('\n'))
        assert.ok(line.endsWith(`/${monitorInstance(fixture.instance)}/${workload.id}`), line);
      await checkFiles(pid, name);
      // virtiofsd has changed its root to the share.
      if (name !== 'virtiofsd') await checkRoot(pid);
    }
  } finally {
    await fixture.runtime.delete(workload.id);
    await fixture.dispose();
  }
});

/** All but CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, SYS_CHROOT, MKNOD and SETFCAP. */
const dangerous = ~[0, 1, 3, 4, 5, 6, 7, 8, 18, 27, 31].reduce((set, bit) => set | (1n << BigInt(bit)), 0n);

async function statusOf(pid: number): Promise<Record<string, string[]>> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8');
  return Object.fromEntries(
    text.split('\n').map((line) => {
      const [name = '', value = ''] = line.split(':');
      return [name, value.trim().split(/\s+/).filter(Boolean)];
    }),
  );
}

/** No file of the host is open but those the monitor was made for. */
async function checkFiles(pid: number, name: string): Promise<void> {
  const own =
    /^(socket|pipe|anon_inode|\/memfd):|^\/dev\/null$|^\/$|^\/root$|^\/proc$|^\/proc\/\d+\/(fd|task)$|^\/vm\/|^\/share/;
  for (const fd of await readdir(`/proc/${pid}/fd`)) {
    const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '/dev/null'); // Closed meanwhile.
    assert.match(target, own, `descriptor ${fd} of ${name}`);
  }
}

async function checkRoot(pid: number): Promise<void> {
  const root = `/proc/${pid}/root`;
  const known = [
    'bin',
    'dev',
    'etc',
    'isle',
    'lib',
    'lib64',
    'proc',
    'sbin',
    'share',
    'sys',
    'tmp',
    'usr',
    'vm',
  ];
  assert.deepEqual(
    (await readdir(root)).filter((name) => !known.includes(name)),
    [],
  );
  assert.deepEqual(await readdir(`${root}/etc`), ['ld.so.cache']);
  assert.deepEqual(await readdir(`${root}/sys`), ['fs']);
  assert.deepEqual((await readdir(`${root}/isle`)).toSorted(), ['initramfs', 'kernel', 'shim']);
  assert.deepEqual((await readdir(`${root}/dev`)).toSorted(), [
    'core',
    'fd',
    'full',
    'mqueue',
    'null',
    'ptmx',
    'pts',
    'random',
    'shm',
    'stderr',
    'stdin',
    'stdout',
    'tty',
    'urandom',
    'zero',
  ]);
  const table = await mountTable(pid);
  for (const [target, size] of [
    ['/vm', 'size=512k'],
    ['/share', 'size=64k'],
  ] as const) {
    const found = table.find((mount) => mount.target === target);
    assert.ok(found?.superOptions.includes(size), `${target} is bounded`);
  }
  const writable = table.filter(({ options }) => options.includes('rw')).map(({ target }) => target);
  const allowed = /^\/(share(\/root)?|vm|proc|sys|dev|dev\/pts|sys\/fs\/cgroup)$/;
  assert.deepEqual(
    writable.filter((target) => !allowed.test(target)),
    [],
  );
}
