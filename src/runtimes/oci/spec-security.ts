import { existsSync, readFileSync } from 'node:fs';
import { isleError } from '../../lib/errors.ts';

/** What `--security-opt` said, understood. */
export interface SecurityOptions {
  noNewPrivileges: boolean;
  /** JSON text of a profile, or one of the two words. */
  seccomp: 'default' | 'unconfined' | { profile: string };
  apparmorProfile?: string;
}

export interface SecurityHost {
  apparmor: boolean;
  selinux: boolean;
}

export function securityHost(): SecurityHost {
  let apparmor = false;
  try {
    apparmor = readFileSync('/sys/module/apparmor/parameters/enabled', 'latin1').startsWith('Y');
  } catch {
    // No such module: the host has no AppArmor.
  }
  return { apparmor, selinux: existsSync('/sys/fs/selinux/enforce') };
}

/**
 * Parses security options as Docker does (`name=value`, or the older `name:value`). An option that the host
 * cannot honour is refused; switching something off that the host lacks is accepted.
 */
export function parseSecurityOptions(
  options: string[],
  privileged: boolean,
  host: SecurityHost,
): SecurityOptions {
  const parsed: SecurityOptions = {
    noNewPrivileges: false,
    seccomp: privileged ? 'unconfined' : 'default',
  };
  for (const option of options) {
    const [name, value] = split(option);
    if (name === 'no-new-privileges') parsed.noNewPrivileges = flag(option, value);
    else if (name === 'seccomp') parsed.seccomp = seccompOf(value);
    else if (name === 'apparmor') parsed.apparmorProfile = apparmorOf(value, host);
    else if (name === 'label') checkLabel(value, host);
    else if (name === 'systempaths' && value === 'unconfined') continue;
    else if (name === 'nesting')
      throw invalid('nesting (--nested) is for system containers: add --runtime system');
    else throw invalid(`invalid --security-opt: "${option}"`);
  }
  return parsed;
}

function split(option: string): [string, string] {
  const at = /[=:]/.exec(option)?.index ?? -1;
  return at < 0 ? [option, ''] : [option.slice(0, at), option.slice(at + 1)];
}

function flag(option: string, value: string): boolean {
  if (value === '' || value === 'true') return true;
  if (value === 'false') return false;
  throw invalid(`invalid --security-opt: "${option}" (true or false)`);
}

function seccompOf(value: string): SecurityOptions['seccomp'] {
  if (value === 'unconfined') return 'unconfined';
  if (value === 'builtin') return 'default';
  if (value === '') throw invalid('invalid --security-opt: seccomp needs a profile, builtin or unconfined');
  return { profile: value };
}

function apparmorOf(value: string, host: SecurityHost): string | undefined {
  if (value === 'unconfined' || value === '') return host.apparmor ? 'unconfined' : undefined;
  if (!host.apparmor)
    throw invalid(
      `AppArmor profile "${value}" cannot be applied: AppArmor is not enabled on this host; leave the option out`,
    );
  if (!/^[\w./-]{1,255}$/.test(value)) throw invalid(`invalid AppArmor profile name "${value}"`);
  if (!isLoaded(value))
    throw invalid(`AppArmor profile "${value}" is not loaded: load it with apparmor_parser first`);
  return value;
}

/** Where the kernel's list cannot be read, crun finds out. */
function isLoaded(profile: string): boolean {
  try {
    const list = readFileSync('/sys/kernel/security/apparmor/profiles', 'utf8');
    return list.split('\n').some((line) => line.slice(0, line.lastIndexOf(' (')) === profile);
  } catch {
    return true;
  }
}

function checkLabel(value: string, host: SecurityHost): void {
  if (value === 'disable' || value === 'nested') return;
  const why = host.selinux ? 'Isle does not set SELinux labels' : 'SELinux is not enabled on this host';
  throw invalid(`label "${value}" cannot be applied: ${why}; use label=disable or leave the option out`);
}

function invalid(message: string) {
  return isleError('invalidParameter', { message });
}
