import { randomBytes } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { Context } from '../context.ts';
import { defineCommand } from '../command.ts';
import { containerPath } from '../each-name.ts';
import { Failure } from '../failure.ts';
import { choice, text } from '../flags.ts';
import { imagePath } from '../image/path.ts';
import { type ExportedImage, unifiedTarball } from '../image/unified-tarball.ts';
import { writeSquashfs } from '../image/squashfs.ts';
import { saveStream } from '../save-stream.ts';

export const command = defineCommand({
  usage: '[OPTIONS] IMAGE',
  about:
    "Writes an image as LXD and Incus have them: 'lxd', one tar.gz with metadata.yaml and rootfs/, or 'squashfs', the root alone.",
  examples: [
    { run: 'image export -o deb.tar.gz deb', does: 'then: incus image import deb.tar.gz --alias deb' },
    { run: 'image export --format squashfs -o deb.squashfs deb', does: 'the root alone' },
  ],
  flags: {
    format: choice(['lxd', 'squashfs'], 'What to write (default lxd)'),
    output: text('Write to a file instead of stdout', { short: 'o', complete: 'file' }),
  },
  args: [1, 1],
  complete: ['image'],
  async run(context, { args: [name = ''], flags }) {
    const image = await context.client.get<ExportedImage>(`${imagePath(name)}/json`);
    if (flags.format === 'squashfs') {
      const { output } = flags;
      if (output === undefined) throw new Failure('a squashfs needs a file: give -o FILE');
      await withRoot(context, image.Id, (root) => writeSquashfs(root, output));
      return;
    }
    await withRoot(context, image.Id, (root) =>
      saveStream(context, flags.output, async () => unifiedTarball(root, image)),
    );
  },
});

/** An image's root is that of a container that never ran; it is gone when `use` is done. */
async function withRoot(
  { client }: Context,
  image: string,
  use: (root: Readable) => Promise<void>,
): Promise<void> {
  const name = `isle-export-${randomBytes(6).toString('hex')}`;
  await client.post(`/containers/create?name=${name}`, {
    body: { Image: image, Cmd: ['never'], HostConfig: { NetworkMode: 'none' } },
  });
  const abort = new AbortController();
  const interrupt = () => abort.abort();
  process.once('SIGINT', interrupt);
  try {
    await use(await client.body('GET', `${containerPath(name)}/export`, { signal: abort.signal }));
  } catch (error) {
    if (!abort.signal.aborted) throw error;
    throw new Failure('cancelled; nothing was written', { exitCode: 130 });
  } finally {
    process.off('SIGINT', interrupt);
    await client.delete(containerPath(name), { force: true, v: true });
  }
}
