import { Failure } from '../failure.ts';

/** Where the daemon listens. */
export type Address = { socketPath: string } | { host: string; port: number };

export const defaultSocket = '/run/isle/docker.sock';

/**
 * `--host`, else ISLE_HOST, else ISLE_SOCKET (a path), else the socket under ISLE_RUN_ROOT, else the default.
 * DOCKER_HOST is not read: it usually points at another engine, and a command must not act on the wrong one.
 */
export function resolveAddress(host: string | undefined, env: NodeJS.ProcessEnv): Address {
  const given = host ?? (env.ISLE_HOST || undefined);
  if (given !== undefined) return parseAddress(given);
  if (env.ISLE_SOCKET) return { socketPath: env.ISLE_SOCKET };
  if (env.ISLE_RUN_ROOT) return { socketPath: `${env.ISLE_RUN_ROOT.replace(/\/+$/, '')}/docker.sock` };
  return { socketPath: defaultSocket };
}

/** `unix:///path`, `/path` or `tcp://host:port`. */
export function parseAddress(text: string): Address {
  if (text.startsWith('/')) return { socketPath: text };
  if (text.startsWith('unix://') && text.length > 'unix://'.length) return { socketPath: text.slice(7) };
  const tcp = /^(?:tcp|http):\/\/(\[[0-9a-f:.]+\]|[^:/]+):(\d{1,5})\/?$/i.exec(text);
  if (tcp) return { host: tcp[1]!.replace(/^\[|\]$/g, ''), port: Number(tcp[2]) };
  throw new Failure(`invalid host "${text}"`, {
    exitCode: 125,
    hint: 'use unix:///run/isle/docker.sock or tcp://address:port',
  });
}

/** The address as DOCKER_HOST wants it. */
export function formatAddress(address: Address): string {
  if ('socketPath' in address) return `unix://${address.socketPath}`;
  return `tcp://${address.host.includes(':') ? `[${address.host}]` : address.host}:${address.port}`;
}
