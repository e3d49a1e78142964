import type { Context } from '../context.ts';
import type { Output } from '../terminal/output.ts';
import { followProgress } from './progress-stream.ts';
import { registryAuthHeader } from './registry-auth.ts';

export interface PullOptions {
  platform?: string | undefined;
  allTags?: boolean;
  quiet: boolean;
  output: Output;
}

/** Fetches an image with progress; the tag defaults to `latest`. */
export async function pullImage(context: Context, image: string, options: PullOptions): Promise<void> {
  const { name, tag } = splitReference(image);
  await followProgress(
    context,
    '/images/create',
    {
      query: {
        fromImage: name,
        tag: options.allTags ? undefined : (tag ?? 'latest'),
        platform: options.platform,
      },
      headers: await registryAuthHeader(context, image),
    },
    {
      quiet: options.quiet,
      output: options.output,
      cancelled: 'pull cancelled; what has arrived is kept for the next try',
    },
  );
}

/** Name, and tag or digest where there is one. */
export function splitReference(image: string): { name: string; tag: string | undefined } {
  const at = image.indexOf('@');
  if (at >= 0) return { name: image.slice(0, at).replace(/:[^/:]*$/, ''), tag: image.slice(at + 1) };
  const colon = image.lastIndexOf(':');
  if (colon <= image.lastIndexOf('/')) return { name: image, tag: undefined };
  return { name: image.slice(0, colon), tag: image.slice(colon + 1) };
}

/** `busybox` as `busybox:latest`; digests and tags stay. */
export function withTag(image: string): string {
  const { tag } = splitReference(image);
  return tag === undefined ? `${image}:latest` : image;
}
