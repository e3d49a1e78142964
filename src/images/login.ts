import { isleError } from '../lib/errors.ts';
import type { RegistryAuth } from './images.ts';
import { answerError, UnexpectedAnswer } from './registry/answers.ts';
import { discard } from './registry/body.ts';
import { NetworkError, unreachable, type Connections } from './registry/connections.ts';
import { endpointsOf } from './registry/endpoints.ts';
import { withRetries } from './registry/retry.ts';
import { RegistrySession } from './registry/session.ts';

/** Checks credentials against the registry they are for. See `Images.login`. */
export async function login(
  connections: Connections,
  auth: RegistryAuth,
): Promise<{ status: string; identityToken?: string }> {
  const host = registryHost(auth.serverAddress);
  const endpoints = endpointsOf(host, connections.config, 'push');
  for (const [i, endpoint] of endpoints.entries()) {
    const session = new RegistrySession(connections, endpoint, auth);
    try {
      const ask = () => session.request({ method: 'GET', path: 'v2/', scopes: [], expect: [200] });
      const { response } = await withRetries({ timeouts: connections.timeouts, tries: 3 }, ask);
      discard(response);
      return { status: 'Login Succeeded', identityToken: session.identityToken };
    } catch (error) {
      if (error instanceof NetworkError && i < endpoints.length - 1) continue;
      throw error instanceof UnexpectedAnswer ? answerError(host, error) : unreachable(host, error);
    }
  }
  throw isleError('registryUnreachable', { host, reason: 'it has no endpoint' });
}

/** `https://index.docker.io/v1/`, `registry.example.com:5000` or nothing: the registry's host. */
export function registryHost(serverAddress: string | undefined): string {
  const text = (serverAddress ?? '').replace(/^https?:\/\//, '').replace(/\/.*$/s, '');
  if (text === '' || text === 'index.docker.io' || text === 'registry-1.docker.io') return 'docker.io';
  if (/^(\[[0-9a-fA-F:]+\]|[\w.-]+)(:\d{1,5})?$/.test(text)) return text;
  throw isleError('invalidParameter', { message: `"${text.slice(0, 100)}" is not a registry's host` });
}
