import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { distributionLayers } from '../fixtures/distributions.ts';
import { isle as call } from '../fixtures/command-line.ts';
import { architecture, metadataYaml, serveStreams } from '../fixtures/simplestreams.ts';
import { systemWorld } from '../fixtures/system-containers.ts';

/** Debian with systemd as Incus' servers have it: a metadata tarball and a squashfs. */
function debian(directory: string): Map<string, Buffer> {
  const layers = distributionLayers();
  const script = `
    cd "$1"; mkdir rootfs
    for layer in base systemd; do tar -C rootfs --numeric-owner --xattrs --xattrs-include='*' -xpf "$2/$layer.tar"; done
    find rootfs -name '.wh.*' -delete
    : > rootfs/etc/machine-id; ln -sf /etc/machine-id rootfs/var/lib/dbus/machine-id
    tar -cJf metadata.tar.xz metadata.yaml
    mksquashfs rootfs rootfs.squashfs -noappend -quiet -no-progress -comp zstd -Xcompression-level 1
    rm -rf rootfs`;
  writeFileSync(join(directory, 'metadata.yaml'), metadataYaml.slice(0, metadataYaml.indexOf('templates:')));
  execFileSync('sh', ['-ec', script, 'sh', directory, layers], { stdio: ['ignore', 'ignore', 'inherit'] });
  const files = new Map<string, Buffer>();
  const item = (ftype: string, path: string) => {
    const content = readFileSync(join(directory, path));
    files.set(path, content);
    return { ftype, path, size: content.length, sha256: createHash('sha256').update(content).digest('hex') };
  };
  const items = { m: item('incus.tar.xz', 'metadata.tar.xz'), r: item('squashfs', 'rootfs.squashfs') };
  const product = {
    aliases: 'debian/12',
    arch: architecture,
    os: 'Debian',
    release: 'bookworm',
    variant: 'default',
    versions: { '20261120_05:24': { items } },
  };
  files.set(
    'streams/v1/index.json',
    Buffer.from('{"index":{"images":{"datatype":"image-downloads","path":"streams/v1/images.json"}}}'),
  );
  files.set('streams/v1/images.json', Buffer.from(JSON.stringify({ products: { debian: product } })));
  return files;
}

test('Debian from a server boots, is snapshotted, broken, reverted and cloned', {
  timeout: 300_000,
}, async () => {
  const base = mkdtempSync(join(tmpdir(), 'isle-debian-'));
  try {
    await using server = await serveStreams(debian(base));
    await using world = await systemWorld([]);
    const { daemon, inside, until } = world;
    const isle = async (...args: string[]) => {
      const { code, stdout, stderr } = await call(daemon.host, args);
      assert.equal(code, 0, `isle ${args.join(' ')}: ${stderr}`);
      return stdout.trimEnd();
    };
    const sh = (name: string, script: string) => inside(name, 'sh', '-c', script);
    const booted = (name: string) =>
      until(`${name} runs its service`, async () =>
        /^active/.test(await sh(name, 'systemctl is-active ticker; true')),
      );
    const image = await isle('image', 'import', server.url, 'debian/12');
    assert.equal(image, `${server.host}/debian:12`);
    await isle('run', '-d', '--runtime', 'system', '--name', 'deb', image);
    await until('systemd is up', async () =>
      /^(running|degraded)/.test(await sh('deb', 'systemctl is-system-running; true')),
    );
    const unit =
      '[Service]\\nExecStart=/bin/sh -c "while :; do date > /ticked; sleep 0.2; done"\\n[Install]\\nWantedBy=multi-user.target\\n';
    await sh('deb', `printf '${unit}' > /etc/systemd/system/ticker.service; systemctl enable --now ticker`);
    await booted('deb');
    await isle('snapshot', 'create', 'deb', 'good', '--comment', 'ticks');
    await booted('deb');
    const id = await sh('deb', 'cat /etc/machine-id');
    assert.match(id, /^[0-9a-f]{32}\s*$/);
    await sh('deb', 'rm -rf /etc/systemd /usr/lib/systemd/system /bin/sleep; : > /etc/passwd');
    await isle('snapshot', 'restore', '--restart', '-t', '20', 'deb', 'good');
    await booted('deb');
    assert.match(
      await sh('deb', 'cat /etc/passwd; cat /etc/machine-id'),
      new RegExp(`^root:.*${id.trim()}`, 's'),
    );
    await isle('clone', 'deb/good', 'twin', '--start');
    await booted('twin');
    assert.match(await sh('twin', 'cat /etc/machine-id'), /^[0-9a-f]{32}\s*$/);
    assert.notEqual(await sh('twin', 'cat /etc/machine-id'), id);
    const owners = async (name: string) =>
      Number((await sh(name, 'cat /proc/self/uid_map')).trim().split(/\s+/)[1]);
    assert.notEqual(await owners('deb'), await owners('twin'), 'each has ids of its own');
    await isle('rm', '-f', 'deb');
    await booted('twin');
  } finally {
    rmSync(base, { recursive: true, force: true });
  }
});
