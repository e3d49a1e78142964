import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { MachineHardware } from '../../src/engine/machine.ts';
import type { Workload } from '../../src/engine/runtime.ts';
import { mountTable } from '../../src/host/mount.ts';
import { qemuUser } from '../../src/runtimes/confined/dressing.ts';
import { machineInstance } from '../../src/runtimes/machine/parts.ts';
import { machineDisk, machineFixture, type MachineFixture, makeDisk, tinySpec } from '../fixtures/machine.ts';

let machines: MachineFixture;
let workload: Workload & { machine: MachineHardware };
let base: string;
let qemu: number;
let names: Map<number, string>;

before(async () => {
  machines = await machineFixture();
  const { runtime, directory } = machines;
  base = join(directory, 'data/disks/base/disk.raw');
  makeDisk(base, 'raw', 64);
  workload = await machines.workload(tinySpec({ disks: [machineDisk()], tpm: true }));
  workload.machine.disks[0]!.chain.push(base);
  await runtime.create(workload);
  await runtime.start(workload.id);
  const pids = await runtime.processes(workload.id);
  const named = pids.map(async (pid) => [pid, (await readFile(`/proc/${pid}/comm`, 'utf8')).trim()] as const);
  names = new Map(await Promise.all(named));
  qemu = [...names].find(([, name]) => name.startsWith('qemu'))![0];
});
after(async () => {
  await machines.runtime.delete(workload.id);
  await machines.dispose();
});

test('QEMU and its TPM are nobody, without capabilities, in namespaces of their own', async () => {
  assert.deepEqual(
    [...names.values()].toSorted((a, b) => a.localeCompare(b)),
    ['qemu-system-x86', 'swtpm', 'vmm'],
  );
  for (const [pid, name] of names) {
    const status = await statusOf(pid);
    const user = workload.idMap!.hostId + (name === 'vmm' ? 0 : qemuUser);
    assert.deepEqual([...new Set([...status.Uid!, ...status.Gid!])], [String(user)], name);
    assert.equal(status.NoNewPrivs![0], '1');
    assert.equal(status.Seccomp![0], '2', `${name} is filtered`);
    // KILL, SETGID, SETUID.
    assert.equal(BigInt(`0x${status.CapEff![0]}`), name === 'vmm' ? 0xe0n : 0n, name);
    for (const namespace of ['user', 'mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup'])
      assert.notEqual(
        await readlink(`/proc/${pid}/ns/${namespace}`),
        await readlink(`/proc/self/ns/${namespace}`),
        `${name} has its own ${namespace} namespace`,
      );
    const groups = (await readFile(`/proc/${pid}/cgroup`, 'latin1')).trim().split('\n');
    const place = `/${machineInstance(machines.options.instance)}/${workload.id}`;
    for (const line of groups) assert.ok(line.endsWith(place), line);
  }
});

test('it sees programs of the host, and of its files only its own', async () => {
  const root = `/proc/${qemu}/root`;
  const known = 'bin dev etc files isle lib lib64 proc sbin sys tmp usr vm'.split(' ');
  assert.deepEqual(
    (await readdir(root)).filter((name) => !known.includes(name)),
    [],
  );
  assert.deepEqual(await readdir(`${root}/etc`), ['ld.so.cache']);
  assert.deepEqual(await readdir(`${root}/isle`), ['vmm']);
  assert.deepEqual((await readdir(`${root}/files`)).toSorted(), ['f1', 'f2', 'f3', 'f4', 'own']);
  const table = await mountTable(qemu);
  const writable = table.filter(({ options }) => options.includes('rw')).map(({ target }) => target);
  const allowed = /^\/(files(\/(own|f1))?|vm|proc|sys|dev|dev\/(pts|console)|sys\/fs\/cgroup)$/;
  assert.deepEqual(
    writable.filter((target) => !allowed.test(target)),
    [],
  );
});

test('whoever takes it over cannot reach its supervisor, what it only reads, or anything else', () => {
  assert.match(inside('connect("/vm/control")'), /PermissionError/);
  assert.match(inside('os.kill(1, 9)'), /PermissionError/);
  for (const path of ['/files/f2', '/files/f3', '/isle/vmm', '/usr/bin/crun'])
    assert.match(inside(`open("${path}", "r+b")`), /Read-only file system|PermissionError/, path);
  assert.match(inside('open("/files/new", "w")'), /PermissionError/);
  assert.match(inside('open("/vm/boot.2", "w")'), /PermissionError/);
  assert.match(inside('os.mkdir("/vm/2")'), /PermissionError/);
  assert.match(inside(`open("${base}")`), /FileNotFoundError/);
  assert.match(inside('os.mknod("/vm/1/disk", 0o60600, os.makedev(8, 0))'), /PermissionError/);
  assert.match(inside('open("/dev/console", "r+b")'), /PermissionError/);
  // Its own are there.
  assert.match(inside('print("can", open("/files/f1", "r+b").read(3))'), /can b'QFI'/);
});

test('what it fills is bounded', () => {
  const fill = (path: string) =>
    inside(`f = open("${path}", "wb"); [f.write(b"0" * 65536) for _ in range(1024)]; f.flush()`);
  assert.match(fill('/vm/1/full'), /No space left/);
  inside('os.unlink("/vm/1/full")');
});

/** Runs a line of Python as QEMU's user in its namespaces (but not under its filters); what it says, errors included. */
function inside(line: string): string {
  const program = `import os, socket
def connect(path):
  socket.socket(socket.AF_UNIX).connect(path)
${line}`;
  const enter = [
    '-t',
    String(qemu),
    '-U',
    '-m',
    '-p',
    '-n',
    '-i',
    '-u',
    '-S',
    String(qemuUser),
    '-G',
    String(qemuUser),
  ];
  return execFileSync(
    'sh',
    ['-c', '"$@" 2>&1 || true', 'sh', 'nsenter', ...enter, '/usr/bin/python3', '-c', program],
    {
      encoding: 'utf8',
    },
  );
}

async function statusOf(pid: number): Promise<Record<string, string[]>> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8');
  return Object.fromEntries(
    text.split('\n').map((line) => {
      const [name = '', value = ''] = line.split(':');
      return [name, value.trim().split(/\s+/).filter(Boolean)];
    }),
  );
}
