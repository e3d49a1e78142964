import { DockerCredentials, encodeRegistryAuth } from '../../lib/docker-credentials.ts';
import type { Context } from '../context.ts';

/** The registry host that an image name means: `docker.io` unless the first part looks like a host. */
export function registryOf(image: string): string {
  const slash = image.indexOf('/');
  if (slash < 0) return 'docker.io';
  const first = image.slice(0, slash);
  const isHost = /[.:]/.test(first) || first === 'localhost' || first !== first.toLowerCase();
  if (!isHost) return 'docker.io';
  return first === 'index.docker.io' ? 'docker.io' : first;
}

/** The header that carries what `login` stored for the image's registry. */
export async function registryAuthHeader(context: Context, image: string): Promise<Record<string, string>> {
  const credentials = await new DockerCredentials(context.env).get(registryOf(image));
  return { 'x-registry-auth': encodeRegistryAuth(credentials) };
}
