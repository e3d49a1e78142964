import { isleError } from '../../../lib/errors.ts';

export interface GuestCommand {
  args: string[];
  /** `NAME=value`, beside those that it usually has. Empty: the agent's own. */
  env: string[];
  /** '' and '/' are wherever the agent is. */
  cwd: string;
  /** `user[:group]`; '' and root are the agent's own, which is root. */
  user: string;
}

/** What guest-exec is told. Another user or directory takes a shell in the guest. */
export function guestExec({ args, env, cwd, user }: GuestCommand): {
  path: string;
  arg: string[];
  env?: string[];
} {
  let command = args;
  const [name = '', group = ''] = user.split(':');
  if (group !== '' || !['', 'root', '0'].includes(name)) command = asUser(name, group, command);
  if (cwd !== '' && cwd !== '/') command = ['/bin/sh', '-c', 'cd "$0" && exec "$@"', cwd, ...command];
  const [path = '', ...arg] = command;
  for (const text of [path, ...arg, ...env])
    if (text.includes('\0')) throw isleError('invalidParameter', { message: 'a command has no NUL in it' });
  if (env.length === 0) return { path, arg };
  // Given any, the agent passes on nothing of its own.
  const usual = ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'HOME=/root'];
  const missing = usual.filter((one) => !env.some((own) => own.split('=')[0] === one.split('=')[0]));
  return { path, arg, env: [...missing, ...env] };
}

/** By name su does it everywhere; numbers and groups take setpriv of util-linux. */
function asUser(name: string, group: string, command: string[]): string[] {
  const isName = (text: string): boolean => /^[A-Za-z_][A-Za-z0-9_.-]{0,62}\$?$/.test(text);
  const isNumber = (text: string): boolean => /^\d{1,10}$/.test(text);
  if (group === '' && isName(name))
    return ['/bin/sh', '-c', 'exec su -s /bin/sh -c \'exec "$0" "$@"\' -- "$0" "$@"', name, ...command];
  if (![name, group].every((text) => text === '' || isName(text) || isNumber(text)))
    throw isleError('invalidParameter', {
      message: `invalid user "${name}${group && `:${group}`}": write it like name, name:group or 1000:1000`,
    });
  const user = name === '' ? '0' : name;
  return [
    'setpriv',
    `--reuid=${user}`,
    `--regid=${group === '' ? user : group}`,
    '--clear-groups',
    ...command,
  ];
}
