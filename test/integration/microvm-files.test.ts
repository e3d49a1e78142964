import assert from 'node:assert/strict';
import { chown, mkdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Workload } from '../../src/engine/runtime.ts';
import { runOk } from '../../src/host/run.ts';
import { type MicrovmFixture, microvmFixture } from '../fixtures/microvm.ts';
import { outputOf, until } from '../fixtures/streams.ts';

/** Its root, binds, volumes and terminals, as seen from inside and from the host. */
describe('files of a microVM', { concurrency: false }, () => {
  let fixture: MicrovmFixture;
  before(async () => {
    fixture = await microvmFixture();
  });
  after(async () => await fixture.dispose());

  async function runs(
    script: string,
    changes: Partial<Workload> = {},
  ): Promise<{ stdout: string; code: number }> {
    const workload = await fixture.workload({ args: ['sh', '-c', script], ...changes });
    try {
      await fixture.runtime.create(workload);
      const output = outputOf(await fixture.runtime.attach(workload.id));
      await fixture.runtime.start(workload.id);
      const { stdout, stderr } = await output;
      return { stdout: stdout + stderr, code: (await fixture.runtime.wait(workload.id)).code };
    } finally {
      await fixture.runtime.delete(workload.id);
    }
  }

  const bind = (source: string, target: string, readOnly = false): Workload['mounts'][number] => ({
    type: 'bind',
    source,
    target,
    readOnly,
  });

  test('binds of directories and files, read-only ones, one in another, and a tmpfs', async () => {
    const host = join(fixture.directory, 'host');
    await mkdir(join(host, 'inner'), { recursive: true });
    await writeFile(join(host, 'file'), 'of the host\n');
    await writeFile(join(host, 'inner/deep'), 'deep\n');
    const { stdout, code } = await runs(
      `cat /a/b/file /single /a/b/over/deep; stat -c %u:%g /a/b/file /a/b; echo new >/a/b/new; echo x >/ro/new; echo x >/single;
       df /t | tail -1 | grep -c tmpfs; echo y >/t/y && cat /t/y; cat /proc/mounts | grep -c ' / virtiofs '; true`,
      {
        mounts: [
          bind(host, '/a/b'),
          bind(join(host, 'file'), '/single', true),
          bind(host, '/ro', true),
          bind(join(host, 'inner'), '/a/b/over'),
          { type: 'tmpfs', source: '', target: '/t', readOnly: false, options: ['size=1m'] },
        ],
      },
    );
    assert.equal(code, 0);
    assert.match(stdout, /^of the host\nof the host\ndeep\n0:0\n0:0\n/, 'the owner is root, as on the host');
    assert.match(stdout, /\n1\ny\n/);
    assert.equal(stdout.match(/Read-only file system/g)?.length, 2);
    assert.equal(await readFile(join(host, 'new'), 'utf8'), 'new\n');
    assert.equal((await stat(join(host, 'new'))).uid, 0, 'and what root inside makes is root’s');
  });

  test('what it writes into its root is on the host when it has ended, and owned as inside', async () => {
    const { code } = await runs(
      'echo kept >/root/kept; chown 1000:1000 /root/kept; ln -s kept /root/link; exit 3',
    );
    assert.equal(code, 3);
    assert.equal(await readFile(join(fixture.rootfs, 'root/kept'), 'utf8'), 'kept\n');
    assert.equal((await stat(join(fixture.rootfs, 'root/kept'))).uid, 1_900_001_000);
  });

  test('a lock that is waited for is got', async () => {
    const source = join(import.meta.dirname, '../fixtures/lock.c');
    await runOk('gcc', ['-static', '-o', join(fixture.rootfs, 'bin/lock'), source]);
    const { stdout } = await runs('lock /tmp/lock one 1 & sleep 0.5; lock /tmp/lock two 0; wait');
    assert.equal(stdout, 'one\none\ntwo\ntwo\n');
  });

  test('a read-only root has writable volumes', async () => {
    const host = join(fixture.directory, 'volume');
    await mkdir(host);
    const { stdout } = await runs('echo x >/tmp/x; echo written >/volume/w; cat /volume/w', {
      readonlyRootfs: true,
      mounts: [bind(host, '/volume')],
    });
    assert.match(stdout, /Read-only file system/);
    assert.match(stdout, /^written$/m);
  });

  test('an image’s links lead no mount out of its root', async () => {
    const host = join(fixture.directory, 'payload');
    await mkdir(host);
    await writeFile(join(host, 'evil'), 'evil\n');
    const { hostId } = (await fixture.workload({})).idMap!;
    for (const [name, target] of [
      ['absolute', '/etc/nested'],
      ['upwards', '../../../../../../../../etc/upwards'],
      ['magic', '/proc/self/root/etc/by-magic'],
    ] as const) {
      await symlink(target, join(fixture.rootfs, name));
      await chown(fixture.rootfs, hostId, hostId);
    }
    const { stdout } = await runs('cat /absolute/evil /etc/nested/evil /upwards/evil', {
      mounts: [bind(host, '/absolute'), bind(host, '/upwards')],
    });
    assert.equal(stdout, 'evil\nevil\nevil\n');
    for (const path of ['/etc/nested', '/etc/upwards', '/etc/by-magic'])
      await assert.rejects(stat(path), { code: 'ENOENT' }, `${path} of the host`);
    const { stdout: nested } = await runs('cat /magic/evil', { mounts: [bind(host, '/magic')] }).catch(
      (error: Error) => ({ stdout: error.message }),
    );
    assert.match(nested, /evil|cannot mount/);
    await assert.rejects(stat('/etc/by-magic'), { code: 'ENOENT' });
  });

  test('a terminal of its own, with its size before and after', async () => {
    const workload = await fixture.workload({
      args: ['sh', '-c', 'tty; stty size; read A; stty size; exit 5'],
      tty: true,
      stdin: true,
      size: { columns: 77, rows: 22 },
    });
    await fixture.runtime.create(workload);
    const streams = await fixture.runtime.attach(workload.id);
    streams.stderr.resume();
    const small = until(streams.stdout, '22 77');
    await fixture.runtime.start(workload.id);
    await small;
    await fixture.runtime.resize(workload.id, { columns: 99, rows: 33 });
    const large = until(streams.stdout, '33 99');
    streams.stdin!.write('go\r');
    await large;
    assert.equal((await fixture.runtime.wait(workload.id)).code, 5);
    await fixture.runtime.delete(workload.id);
  });

  test('capabilities, users and hidden paths are a container’s', async () => {
    const { stdout } = await runs(
      'id; grep -E "^(CapEff|CapBnd|NoNewPrivs)" /proc/self/status; cat /proc/kcore | wc -c; hostname; echo 1 >/proc/sys/kernel/panic; sysctl -n kernel.msgmax 2>/dev/null || cat /proc/sys/kernel/msgmax',
      {
        user: 'user',
        groupAdd: ['44'],
        securityOpt: ['no-new-privileges'],
        hostname: 'inside',
        sysctls: { 'kernel.msgmax': '12345' },
      },
    );
    assert.match(stdout, /^uid=1000\(user\) gid=1000\(user\) groups=.*44\(video\)/);
    assert.match(stdout, /^CapEff:\s+0+$/m);
    assert.match(stdout, /^CapBnd:\s+00000000a80425fb$/m);
    assert.match(stdout, /^NoNewPrivs:\s+1$/m);
    assert.match(stdout, /\n0\ninside\n/);
    assert.match(stdout, /Read-only|Permission denied|denied/);
    assert.match(stdout, /^12345$/m);
  });
});
