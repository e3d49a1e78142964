import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { statSync } from 'node:fs';
import { chmod, mkdir, readdir, readFile, readlink, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { ExecSpec, IdMap, Workload } from '../../src/engine/runtime.ts';
import { mountTable, unmount } from '../../src/host/mount.ts';
import { NetworkJob } from '../../src/host/network-job.ts';
import { run } from '../../src/host/run.ts';
import { isIsleError } from '../../src/lib/errors.ts';
import { newId } from '../../src/lib/ids.ts';
import { makeBusyboxRoot } from '../fixtures/busybox-root.ts';
import { type OciFixture, ociFixture } from '../fixtures/oci.ts';
import { outputOf } from '../fixtures/streams.ts';

attacks('attacks on the container runtime', undefined);
attacks('attacks from a user namespace', { hostId: 1_900_000_000, size: 65_536 });

function attacks(title: string, idMap: IdMap | undefined): void {
  describe(title, { concurrency: false }, () => {
    let fixture: OciFixture;
    /** A directory of the host that nothing in a container may ever reach. */
    let canary: string;
    before(async () => {
      fixture = await ociFixture({}, idMap);
      canary = join(fixture.directory, 'canary');
      await mkdir(canary);
      await writeFile(join(canary, 'secret'), 'host');
    });
    after(async () => await fixture.dispose());

    async function unharmed(): Promise<void> {
      assert.deepEqual(await readdir(canary), ['secret']);
      assert.equal(await readFile(join(canary, 'secret'), 'utf8'), 'host');
      const mounts = await mountTable();
      const left = mounts.filter(
        ({ target }) => target.startsWith(fixture.directory) && !/mapped$/.test(target),
      );
      assert.deepEqual(left, [], 'no mount on the host');
    }

    async function start(changes: Partial<Workload>): Promise<Workload> {
      const workload = await fixture.workload(changes);
      await fixture.runtime.create(workload);
      await fixture.runtime.start(workload.id);
      return workload;
    }

    async function sh(script: string, changes: Partial<Workload> = {}): Promise<string> {
      const { runtime } = fixture;
      const workload = await fixture.workload({ args: ['sh', '-c', script], ...changes });
      await runtime.create(workload);
      const output = outputOf(await runtime.attach(workload.id));
      await runtime.start(workload.id);
      const { stdout, stderr } = await output;
      await runtime.delete(workload.id);
      return stdout + stderr;
    }

    function exec(changes: Partial<ExecSpec>): ExecSpec {
      return {
        id: newId(),
        args: ['true'],
        env: ['PATH=/bin'],
        cwd: '/',
        user: '',
        tty: false,
        stdin: false,
        privileged: false,
        ...changes,
      };
    }

    async function ownRoot(name: string): Promise<string> {
      const root = join(fixture.directory, name);
      await makeBusyboxRoot(root);
      return root;
    }

    test('CVE-2019-5736: the runtime on the host cannot be overwritten through /proc/self/exe', async () => {
      const rootfs = await ownRoot('evil-exe');
      await writeFile(join(rootfs, 'entry'), '#!/proc/self/exe\n');
      await chmod(join(rootfs, 'entry'), 0o755);
      await rm(join(rootfs, 'bin/true'));
      await writeFile(join(rootfs, 'bin/true'), '#!/proc/self/exe\n');
      await chmod(join(rootfs, 'bin/true'), 0o755);
      const programs = ['/usr/bin/crun', '/usr/bin/conmon'];
      const hashes = async () =>
        await Promise.all(
          programs.map(async (path) =>
            createHash('sha256')
              .update(await readFile(path))
              .digest('hex'),
          ),
        );
      const earlier = await hashes();
      const { runtime } = fixture;
      for (let round = 0; round < 3; round++) {
        const direct = await fixture.workload({ rootfs, args: ['/entry'] });
        await runtime.create(direct).then(
          async () => {
            await runtime.start(direct.id);
            await runtime.wait(direct.id);
          },
          () => {},
        );
        await runtime.delete(direct.id);
      }
      const overwrite =
        'while :; do for p in /proc/[0-9]*; do case $(readlink $p/exe 2>/dev/null) in *busybox*|"") ;; *) echo overwritten > $p/exe; esac; done; done';
      const { id } = await start({ rootfs, args: ['sh', '-c', overwrite], capAdd: ['SYS_PTRACE'] });
      for (let round = 0; round < 15; round++) {
        const session = await runtime.exec(id, exec({ args: ['true'] })).catch(() => undefined);
        if (session) await Promise.all([outputOf(session.streams), session.exit]);
      }
      await runtime.delete(id);
      assert.deepEqual(await hashes(), earlier);
    });

    test('CVE-2024-21626: init and exec have three descriptors and no more', async () => {
      const { runtime } = fixture;
      const { id } = await start({ args: ['sleep', '100'] });
      const session = await runtime.exec(id, exec({ args: ['sleep', '100'] }));
      for (const pid of await runtime.processes(id)) {
        // Until then it is still the OCI runtime, whose descriptors close as it executes the command.
        while ((await readFile(`/proc/${pid}/comm`, 'latin1')) !== 'sleep\n') await delay(5);
        const open = await readdir(`/proc/${pid}/fd`);
        assert.deepEqual(open.sort(), ['0', '1', '2'], `process ${pid}`);
        for (const fd of open)
          assert.doesNotMatch(await readlink(`/proc/${pid}/fd/${fd}`), /^\/(?!dev\/null)/);
      }
      const outputs = outputOf(session.streams);
      await runtime.delete(id);
      await outputs;
    });

    test('CVE-2024-21626: a working directory never leads out of the root', async () => {
      const { runtime } = fixture;
      const rootfs = await ownRoot('evil-cwd');
      for (const cwd of [
        '/proc/self/fd/7',
        '/proc/self/cwd',
        '/proc/1/root',
        '/tmp/../proc/self/fd/3',
        'relative',
        '/a\0b',
      ])
        await assert.rejects(runtime.create(await fixture.workload({ cwd })), (error) =>
          isIsleError(error, 'invalidParameter'),
        );
      const running = await start({ rootfs, args: ['sleep', '100'] });
      let outside = 0;
      for (let fd = 3; fd < 24; fd++) {
        await symlink(`/proc/self/fd/${fd}`, join(rootfs, `fd${fd}`));
        const workload = await fixture.workload({
          rootfs,
          cwd: `/fd${fd}`,
          args: ['sh', '-c', 'ls -a . ; ls -a ../..'],
        });
        try {
          await runtime.create(workload);
        } catch (error) {
          assert.ok(isIsleError(error), String(error));
          outside++;
        }
        await runtime.delete(workload.id);
        await assert.rejects(
          runtime.exec(running.id, exec({ cwd: `/fd${fd}`, args: ['ls', '-a'] })),
          (error) => isIsleError(error, 'invalidParameter'),
        );
      }
      assert.equal(outside, 21, 'each one was refused');
      await runtime.delete(running.id);
      await unharmed();
    });

    test('CVE-2021-30465, 2025-31133, 2025-52565, 2025-52881: a neighbour swaps symbolic links at mount targets', async () => {
      const { runtime } = fixture;
      const volume = join(fixture.directory, 'volume');
      await mkdir(volume);
      const swap = `cd /v; mkdir d; ln -s ${canary} l; while :; do mv -T d t 2>/dev/null || mv d t; mv t d; mv l t; mv t l; done`;
      const neighbour = await start({
        args: ['sh', '-c', swap],
        mounts: [{ type: 'bind', source: volume, target: '/v', readOnly: false }],
      });
      let started = 0;
      for (let round = 0; round < 40; round++) {
        const workload = await fixture.workload({
          mounts: [
            { type: 'bind', source: volume, target: '/v', readOnly: false },
            { type: 'tmpfs', source: '', target: '/v/t/made', readOnly: false },
            { type: 'bind', source: '/etc/hostname', target: '/v/t/file', readOnly: true },
          ],
          devices: [
            { hostPath: '/dev/null', containerPath: idMap ? '/dev/t/null' : '/v/t/null', permissions: 'r' },
          ],
          maskedPaths: ['/v/t/made', '/proc/kcore'],
          readonlyPaths: ['/v/t', '/proc/sys'],
        });
        await runtime.create(workload).then(
          () => started++,
          (error: unknown) => assert.ok(isIsleError(error), String(error)),
        );
        await runtime.delete(workload.id);
        await unharmed();
      }
      assert.ok(started > 0, 'some of the starts went through, so the race was run');
      await runtime.delete(neighbour.id);
    });

    test('a root whose mount points are links to the host stays inside', async () => {
      const { runtime } = fixture;
      const rootfs = await ownRoot('evil-links');
      for (const name of ['proc', 'sys', 'dev', 'tmp']) {
        await rm(join(rootfs, name), { recursive: true });
        await symlink(canary, join(rootfs, name));
      }
      await mkdir(join(rootfs, 'etc/deep'));
      await symlink('../../../../../../../..', join(rootfs, 'etc/deep/up'));
      const workload = await fixture.workload({
        rootfs,
        mounts: [
          { type: 'tmpfs', source: '', target: `/etc/deep/up${canary}/made`, readOnly: false },
          { type: 'bind', source: '/etc/hostname', target: '/tmp/hostname', readOnly: true },
        ],
      });
      await runtime.create(workload).catch((error: unknown) => assert.ok(isIsleError(error), String(error)));
      await runtime.delete(workload.id);
      await unharmed();
    });

    test('CVE-2022-0492: cgroup v1 cannot be mounted, release_agent cannot be written', async () => {
      const out = await sh(
        `mkdir /tmp/c; mount -t cgroup -o memory c /tmp/c && echo MOUNTED
       unshare -Ur true && echo UNSHARED
       unshare -Urm mount -t cgroup -o memory c /tmp/c && echo MOUNTED
       for f in $(find / -name release_agent 2>/dev/null) /sys/fs/cgroup/*/release_agent; do echo /x > $f && echo WRITTEN; done
       for f in /sys/fs/cgroup/*/notify_on_release /sys/fs/cgroup/*/cgroup.procs; do echo 1 > $f && echo WRITTEN; done`,
      );
      assert.doesNotMatch(out, /MOUNTED|UNSHARED|WRITTEN/);
      assert.match(await sh('unshare -m true && echo UNSHARED', { capAdd: ['SYS_ADMIN'] }), /UNSHARED/);
    });

    test('CVE-2020-15257: no abstract socket of the host is in sight', async () => {
      const netns = join(fixture.directory, 'netns');
      await new NetworkJob().create(netns).run();
      try {
        assert.equal(await sh('grep -c @ /proc/net/unix', { netns }), '0\n');
      } finally {
        await unmount(netns, { detach: true });
      }
    });

    test('CVE-2024-40635: ids out of range are refused, also from the image', async () => {
      const { runtime } = fixture;
      const rootfs = await ownRoot('evil-users');
      await writeFile(
        join(rootfs, 'etc/passwd'),
        'zero:x:4294967296:0::/:/bin/sh\nminus:x:-1:0::/:/bin/sh\ngroup:x:5:4294967296::/:/bin/sh\n',
      );
      await writeFile(join(rootfs, 'etc/group'), 'big:x:4294967296:\n');
      for (const user of [
        'zero',
        'minus',
        'group',
        '2147483648',
        '4294967295',
        '-1',
        '0:4294967296',
        '1:big',
        '0:-1',
      ])
        await assert.rejects(
          runtime.create(await fixture.workload({ rootfs, user })),
          (error) => isIsleError(error, 'invalidParameter'),
          user,
        );
      await assert.rejects(runtime.create(await fixture.workload({ rootfs, groupAdd: ['big'] })), (error) =>
        isIsleError(error, 'invalidParameter'),
      );
    });

    test('CVE-2022-27649: inheritable and ambient capabilities are empty, in init and in exec', async () => {
      const { runtime } = fixture;
      const { id } = await start({ args: ['sleep', '100'], capAdd: ['SYS_TIME'] });
      for (const changes of [{}, { privileged: true }, { user: 'user' }]) {
        const session = await runtime.exec(
          id,
          exec({ args: ['grep', '-E', 'Cap(Inh|Amb)', '/proc/self/status', '/proc/1/status'], ...changes }),
        );
        const { stdout } = await outputOf(session.streams);
        assert.equal(stdout.match(/:\s*0{16}$/gm)?.length, 4, stdout);
      }
      await runtime.delete(id);
    });

    test('a process of an ordinary user has no capabilities, root has the fourteen, and seccomp holds for all', async () => {
      for (let round = 0; round < 2; round++) {
        assert.match(
          await sh('grep -E "CapEff|Seccomp:" /proc/self/status'),
          /CapEff:\s*00000000a80425fb\nSeccomp:\s*2/,
        );
        assert.match(
          await sh('grep -E "CapEff|Seccomp:" /proc/self/status', { user: '1000' }),
          /CapEff:\s*0{16}\nSeccomp:\s*2/,
        );
      }
      const { id } = await start({ args: ['sleep', '100'] });
      for (const changes of [{}, { detached: true }, { user: '1000' }]) {
        const args = ['sh', '-c', 'grep Seccomp: /proc/self/status; unshare -U true && echo UNSHARED'];
        const { streams } = await fixture.runtime.exec(id, exec({ args, ...changes }));
        const { stdout } = await outputOf(streams);
        assert.match(stdout, /^Seccomp:\s*2\n$/);
      }
      await fixture.runtime.delete(id);
      assert.match(await sh('mount -t tmpfs t /tmp; mknod /x b 8 0 && head -c1 /x'), /not permitted/);
      const nnp = await sh('grep NoNewPrivs /proc/self/status', { securityOpt: ['no-new-privileges'] });
      assert.match(nnp, /NoNewPrivs:\s*1/);
    });

    test('kernel files are masked or read-only', async () => {
      const out = await sh(
        `for f in kcore keys timer_list interrupts; do [ -e /proc/$f ] && wc -c < /proc/$f; done
       ls /sys/firmware /proc/scsi /proc/acpi 2>/dev/null | grep -v :
       for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/irq/default_smp_affinity /sys/kernel/uevent_helper /sys/power/state; do echo 1 > $f && echo WRITTEN $f; done; true`,
      );
      assert.doesNotMatch(out, /WRITTEN/);
      assert.doesNotMatch(
        out.replace(/.*(Read-only|Permission|nonexistent|can't|No such).*\n/g, ''),
        /[1-9a-z]/,
      );
    });

    test('a device that was not given cannot be opened', async () => {
      const out = await sh(
        'mknod /kmsg c 1 11; cat /kmsg && echo OPENED; mknod /mem c 1 1; head -c1 /mem && echo OPENED; echo x > /dev/null && echo fine',
      );
      assert.doesNotMatch(out, /OPENED/);
      assert.match(out, /fine/);
    });

    test('hostile values arrive as they are or are refused, and control nothing', async () => {
      const { runtime } = fixture;
      const tricky = 'a\nb%n%s\\"$(x)`y`\t\u{1F600}';
      const out = await sh('printf %s "$TRICKY"; printf %s "$1"', {
        args: ['sh', '-c', 'printf %s "$TRICKY"; printf %s "$1"', '-x', tricky],
        env: [`TRICKY=${tricky}`],
      });
      assert.equal(out, tricky + tricky);
      const refusals: Partial<Workload>[] = [
        { args: ['echo', 'a\0b'] },
        { env: ['A=\0'] },
        { hostname: 'a\nb' },
        { hostname: '../x' },
        { annotations: { 'run.oci.seccomp_bpf_data': '' } },
        { annotations: { 'run.oci.handler': 'krun' } },
        { annotations: { a: '\0' } },
        { id: '../../etc' },
        { id: '' },
        { sysctls: { 'net/../kernel.panic': '1' } },
        { sysctls: { 'kernel.msgmax': '1\n2' } },
        { mounts: [{ type: 'tmpfs', source: '', target: '/t', readOnly: false, options: ['size=1,suid'] }] },
        { deviceCgroupRules: ['a *:* rwm\na'] },
        { cgroupParent: '/../..' },
      ];
      for (const changes of refusals) {
        const workload = await fixture.workload(changes);
        await assert.rejects(
          runtime.create(workload),
          (error) => isIsleError(error, 'invalidParameter'),
          JSON.stringify(changes),
        );
      }
    });

    test('/etc/passwd may be anything and neither blocks nor leads out', async () => {
      const { runtime } = fixture;
      const rootfs = await ownRoot('evil-passwd');
      const passwd = join(rootfs, 'etc/passwd');
      const named = async () => await fixture.workload({ rootfs, user: 'hostuser' });
      await rm(passwd);
      await symlink(join('../../../../../../../..', canary, 'passwd'), passwd);
      await writeFile(join(canary, 'passwd'), 'hostuser:x:0:0::/:/bin/sh\n');
      await assert.rejects(runtime.create(await named()), /unable to find user/);
      await rm(join(canary, 'passwd'));
      await rm(passwd);
      assert.equal((await run('mkfifo', [passwd])).code, 0);
      await assert.rejects(runtime.create(await named()), /not a regular file/);
      await rm(passwd);
      await writeFile(passwd, Buffer.alloc(5 << 20, 'x'));
      await assert.rejects(runtime.create(await named()), /larger than/);
    });

    test("a user of the host cannot enter the runtime's directories", async () => {
      const { id } = await start({ args: ['sleep', '100'] });
      const { runRoot } = fixture.options;
      for (const path of ['containers', `containers/${id}`, 'runtime', 'exits', 'filters'])
        assert.equal((await stat(join(runRoot, path))).mode & 0o077, 0, path);
      await fixture.runtime.delete(id);
    });

    if (!idMap) return;

    test('root inside is nobody to the host, to a neighbour with other ids, and to files of the host', async () => {
      const bind = join(fixture.directory, 'of-the-host');
      await mkdir(bind);
      await writeFile(join(bind, 'secret'), 'x', { mode: 0o600 });
      const victim = await start({ args: ['sleep', '100'] });
      const { runtime } = fixture;
      const [pid] = await runtime.processes(victim.id);
      const other = { hostId: idMap.hostId + idMap.size, size: idMap.size };
      const rootfs = await ownRoot('neighbour');
      // A bind that is not translated: all of the host's that such a container could ever get hold of.
      const mounts: Workload['mounts'] = [
        { type: 'bind', source: bind, target: '/host', readOnly: false, owners: 'host' },
        { type: 'bind', source: `/proc/${pid}`, target: '/victim', readOnly: false, owners: 'host' },
      ];
      const script = `cat /host/secret && echo READ; touch /host/new && echo WRITTEN; chown 0 /host/secret && echo OWNED
      chmod 777 /host/secret && echo CHANGED; chown ${idMap.hostId} /tmp && echo REACHED
      ls /victim/root/ && echo SEEN; cat /victim/environ && echo READ; kill -9 ${pid} && echo KILLED
      mknod /sda b 8 0 && echo NODE; for n in 100000 4294967294; do chown $n /tmp && echo BEYOND; done
      mount -o remount,rw,bind /host && echo REMOUNTED; echo done`;
      for (const privileged of [false, true]) {
        const out = await sh(script, { rootfs, idMap: other, mounts, privileged });
        // In a mount namespace of one's own the flags of a mount may be changed, with no more reach than before.
        assert.doesNotMatch(
          out,
          /READ|WRITTEN|OWNED|CHANGED|REACHED|SEEN|KILLED|NODE|BEYOND/,
          String(privileged),
        );
        assert.match(out, /done/);
      }
      assert.equal((await stat(join(bind, 'secret'))).mode & 0o777, 0o600);
      assert.deepEqual(await readdir(bind), ['secret']);
      assert.ok(await runtime.stats(victim.id));
      await runtime.delete(victim.id);
    });

    test("what is the host's is never given to the root of a namespace", async () => {
      const before = ['/dev/null', '/dev/zero', '/dev/tty', '/proc/sys/kernel'].map(ownerOf);
      const { runtime } = fixture;
      for (const changes of [{}, { user: '1000' }, { tty: true }, { stdin: true }]) {
        const { id } = await start({ args: ['sleep', '100'], ...changes });
        for (const run of [{}, { detached: true }, { user: '1000' }, { tty: true }]) {
          const args = [
            'sh',
            '-c',
            'chmod 0 /proc/self/fd/0 /dev/null /dev/tty; chown 1000 /proc/self/fd/* /dev/*; true',
          ];
          const session = await runtime.exec(id, exec({ args, ...run }));
          await Promise.all([outputOf(session.streams), session.exit]);
        }
        await runtime.delete(id);
      }
      assert.deepEqual(['/dev/null', '/dev/zero', '/dev/tty', '/proc/sys/kernel'].map(ownerOf), before);
    });
  });
}

function ownerOf(path: string): string {
  const { uid, gid, mode } = statSync(path);
  return `${path} ${uid}:${gid} ${mode.toString(8)}`;
}
