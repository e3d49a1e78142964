import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { ApiError } from '../client/errors.ts';
import type { Client } from '../client/client.ts';
import { readAll } from '../client/lines.ts';
import { defineCommand } from '../command.ts';
import { imagePath } from '../image/path.ts';
import { openInput } from '../open-input.ts';
import { isleRoot } from '../root.ts';
import { runInForeground } from '../session/foreground.ts';

/** The image that ships with Isle. */
const image = 'isle/hello:latest';

export const command = defineCommand({
  usage: '',
  about: 'Runs the container that ships with Isle; no network is needed.',
  examples: [{ run: 'welcome', does: 'a first container' }],
  flags: {},
  args: [0, 0],
  errorCode: 125,
  async run(context) {
    const { client, out } = context;
    await loadShippedImage(client);
    const started = performance.now();
    const { Id: id } = await client.post<{ Id: string }>('/containers/create', {
      body: { Image: image, AttachStdout: true, AttachStderr: true, HostConfig: { AutoRemove: true } },
    });
    const code = await runInForeground(context, {
      id,
      name: id.slice(0, 12),
      tty: false,
      stdin: false,
      stdout: true,
      stderr: true,
      detachKeys: undefined,
      sigProxy: true,
      wait: 'removed',
      start: () => client.post(`/containers/${id}/start`),
    });
    if (code !== 0) return code;
    const took = Math.round(performance.now() - started);
    const tries: [string, string][] = [
      ['docker context use isle', 'the docker client works with it, too'],
      ['./isle doctor', 'how this host is'],
      ['./isle help', 'everything it can do'],
    ];
    out.line(out.paint.bold(`That was a container: made, run and removed in ${took} ms.`));
    for (const [call, does] of tries) out.line(`  ${call.padEnd(26)} ${out.paint.dim(does)}`);
    return 0;
  },
});

async function loadShippedImage(client: Client): Promise<void> {
  try {
    await client.get(`${imagePath(image)}/json`);
    return;
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 404)) throw error;
  }
  const archive = await openInput(join(isleRoot(), 'dist/shipped-image.tar'), createReadStream);
  const { body } = await client.stream('POST', '/images/load', { query: { quiet: true }, body: archive });
  await readAll(body);
}
