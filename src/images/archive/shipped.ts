import { createHash } from 'node:crypto';
import { padding, tarEnd, tarHeader } from '../../lib/tar/writer.ts';
import { emptyEntry, type TarEntry } from '../../lib/tar/entry.ts';
import type { Descriptor } from '../content-store.ts';
import { mediaTypes } from '../media-types.ts';
import { parseReference } from '../reference.ts';
import { archiveDocuments, blobPath } from './layout.ts';

export const shippedName = 'isle/hello:latest';

export interface ShippedParts {
  /** The static busybox. */
  busybox: Buffer;
  /** What `busybox --list` names. */
  applets: string[];
  /** Go's name of the architecture: `amd64`, `arm64`. */
  architecture: string;
  /** Seconds since 1970: everything in the image was made then, so that the same busybox gives the same image. */
  time: number;
}

/** The small image that comes with Isle, so that the first container needs no network: a whole archive for `load`. */
export function shippedImage(parts: ShippedParts): Buffer {
  const layer = layerTar(parts);
  const diffId = digestOf(layer);
  const config = Buffer.from(JSON.stringify(imageConfig(parts, diffId)));
  const layerDescriptor = descriptor(mediaTypes.ociLayer, layer);
  const configDescriptor = descriptor(mediaTypes.ociConfig, config);
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      config: configDescriptor,
      layers: [layerDescriptor],
    }),
  );
  const manifestDescriptor = descriptor(mediaTypes.ociManifest, manifest);
  const documents = archiveDocuments([
    {
      manifest: manifestDescriptor,
      config: configDescriptor,
      layers: [{ ...layerDescriptor, diffId }],
      names: [parseReference(shippedName)],
    },
  ]);
  const files: [string, Buffer][] = [
    [blobPath(layerDescriptor.digest), layer],
    [blobPath(configDescriptor.digest), config],
    [blobPath(manifestDescriptor.digest), manifest],
    ...documents,
  ];
  const members = files.map(([name, content]) => member({ name, mtime: at(parts) }, content));
  return Buffer.concat([...members, tarEnd()]);
}

function layerTar(parts: ShippedParts): Buffer {
  const mtime = at(parts);
  const directory = (name: string, mode = 0o755): Buffer => member({ name, type: 'directory', mode, mtime });
  const file = (name: string, text: string, mode = 0o644): Buffer =>
    member({ name, mode, mtime }, Buffer.from(text));
  const applets = parts.applets.filter((name) => /^[\w.[+-]+$/.test(name) && name !== 'busybox').sort();
  return Buffer.concat([
    directory('bin/'),
    member({ name: 'bin/busybox', mode: 0o755, mtime }, parts.busybox),
    ...applets.map((name) =>
      member({ name: `bin/${name}`, type: 'symlink', linkName: 'busybox', mode: 0o777, mtime }),
    ),
    file('bin/hello', hello, 0o755),
    directory('dev/'),
    directory('etc/'),
    file('etc/group', 'root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n'),
    file('etc/passwd', passwd),
    file('etc/profile', "export PS1='\\h:\\w\\$ '\n"),
    directory('home/'),
    directory('proc/'),
    directory('root/', 0o700),
    directory('sys/'),
    directory('tmp/', 0o1777),
    directory('usr/'),
    directory('usr/bin/'),
    member({ name: 'usr/bin/env', type: 'symlink', linkName: '../../bin/env', mode: 0o777, mtime }),
    directory('var/'),
    directory('var/www/'),
    file('var/www/index.html', page),
    tarEnd(),
  ]);
}

const passwd = `root:x:0:0:root:/root:/bin/sh
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/nonexistent:/bin/false
`;

const page = `<!doctype html>
<title>Isle</title>
<p>This page comes from a container that Isle runs.</p>
`;

const hello = `#!/bin/sh
cat <<END

  Hello from a container.

  This one is $(hostname), running BusyBox on Linux $(uname -r). It has its own
  processes, its own files and its own network, and it is about to end.

  What to try next:

    isle run -it --rm isle/hello sh             look around inside one
    isle run -d -p 8080:80 --name web isle/hello httpd -f -h /var/www
                                                a web server: curl localhost:8080
    isle ps                                     what is running
    isle logs web; isle rm -f web               what it said; away with it
    isle pull debian                            an image from Docker Hub

END
`;

function imageConfig({ architecture, time }: ShippedParts, diffId: string): unknown {
  const created = new Date(time * 1000).toISOString();
  return {
    created,
    architecture,
    os: 'linux',
    config: {
      Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      Cmd: ['hello'],
      WorkingDir: '/',
      Labels: {
        'org.opencontainers.image.title': 'isle/hello',
        'org.opencontainers.image.description': 'BusyBox and a welcome, shipped with Isle',
        'org.opencontainers.image.licenses': 'GPL-2.0-only',
      },
    },
    rootfs: { type: 'layers', diff_ids: [diffId] },
    history: [{ created, created_by: 'isle bootstrap', comment: "from the host's busybox-static" }],
  };
}

function member(fields: Partial<TarEntry>, content: Buffer = Buffer.alloc(0)): Buffer {
  const entry = { ...emptyEntry, size: content.length, ...fields };
  return Buffer.concat([tarHeader(entry), content, padding(content.length)]);
}

function at({ time }: ShippedParts): TarEntry['mtime'] {
  return { seconds: time, nanoseconds: 0 };
}

function descriptor(mediaType: string, content: Buffer): Descriptor {
  return { mediaType, digest: digestOf(content), size: content.length };
}

function digestOf(content: Buffer): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}
