import { readFileSync } from 'node:fs';
import { errnoOf, messageOf } from '../../lib/errors.ts';
import { Failure } from '../failure.ts';

export interface Security {
  options: string[];
  /** Set by `systempaths=unconfined`: nothing is masked or read-only. */
  unmasked: boolean;
}

/** `--security-opt`: a seccomp profile is read here and sent inline, as the daemon may see other files. */
export function parseSecurity(given: readonly string[]): Security {
  const security: Security = { options: [], unmasked: false };
  for (const option of given) {
    if (option === 'systempaths=unconfined') security.unmasked = true;
    else security.options.push(parseOption(option));
  }
  return security;
}

function parseOption(option: string): string {
  if (option === 'no-new-privileges') return option;
  const at = option.search(/[=:]/);
  if (at <= 0) throw new Failure(`Invalid --security-opt: "${option}"`);
  const key = option.slice(0, at);
  const value = option.slice(at + 1);
  if (key !== 'seccomp' || value === 'unconfined' || value === 'builtin') return option;
  return `seccomp=${readProfile(value)}`;
}

function readProfile(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    const why = errnoOf(cause) === 'ENOENT' ? `open ${path}: no such file or directory` : messageOf(cause);
    throw new Failure(`opening seccomp profile (${path}) failed: ${why}`, { cause });
  }
  try {
    return JSON.stringify(JSON.parse(text));
  } catch (cause) {
    throw new Failure(`compacting json for seccomp profile (${path}) failed: ${messageOf(cause)}`, { cause });
  }
}

/** `NET_ADMIN`, `cap_net_admin` and `all` as the API's `CAP_NET_ADMIN` and `ALL`, sorted and once each. */
export function normalizeCapabilities(given: readonly string[]): string[] {
  const names = given.map((name) => {
    const upper = name.trim().toUpperCase();
    return upper === 'ALL' || upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
  });
  return [...new Set(names)].sort();
}
