import type { IncomingMessage } from 'node:http';
import { isleError } from '../../lib/errors.ts';

/** Who may speak over TCP. */
export interface TcpAccess {
  host: string;
  port: number;
  /** Names, without port, that `Host` may carry; the address itself is always one. */
  allowedHosts: string[];
  /** Origins (`https://console.example`) a browser may come from. */
  allowedOrigins: string[];
}

/**
 * A page in somebody's browser can reach a TCP port of this machine, by DNS rebinding even under its own name:
 * only hosts and origins on the lists are served (CVE-2025-64443). UNIX sockets have file permissions instead.
 * Throws `forbidden`.
 */
export function guardTcp(request: IncomingMessage, access: TcpAccess | undefined): void {
  if (!access) throw isleError('forbidden', { message: 'the API is not served over TCP' });
  const host = hostOf(request.headers.host ?? '');
  if (![access.host, ...access.allowedHosts].includes(host))
    throw isleError('forbidden', { message: `the Host "${host}" is not on the list of allowed hosts` });
  const origin = request.headers.origin;
  if (origin !== undefined && !access.allowedOrigins.includes(origin))
    throw isleError('forbidden', { message: `the Origin "${origin}" is not on the list of allowed origins` });
}

function hostOf(header: string): string {
  return header
    .replace(/:\d+$/, '')
    .replace(/^\[(.*)\]$/, '$1')
    .toLowerCase();
}
