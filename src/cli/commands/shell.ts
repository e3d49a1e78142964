import { defineCommand } from '../command.ts';
import { text } from '../flags.ts';
import { execute } from '../session/exec.ts';

export const command = defineCommand({
  usage: '[OPTIONS] CONTAINER',
  about: `A login shell inside a running container, of whatever isolation: the one that its user has in /etc/passwd, in
that user's home, or sh where there is none. Ends with the shell's exit code. What comes through a pipe is run without a
terminal.`,
  examples: [
    { run: 'shell box', does: "root's shell" },
    { run: 'shell --user anna box', does: "anna's" },
    { run: 'shell box < setup.sh', does: 'run a script from here' },
  ],
  flags: {
    'detach-keys': text('Keys that detach (ctrl-p,ctrl-q)'),
    user: text('User: name|uid[:group|gid]', { short: 'u' }),
  },
  args: [1, 1],
  complete: ['running'],
  async run(context, { args: [container = ''], flags }) {
    const tty = Boolean(process.stdin.isTTY && process.stdout.isTTY);
    const terminal = process.env.TERM ?? '';
    return await execute(context, {
      container,
      words: ['/bin/sh', '-c', login],
      // Its name goes into a path of terminfo's there.
      env: tty && /^[\w.+-]{1,64}$/.test(terminal) ? [`TERM=${terminal}`] : [],
      user: flags.user ?? '0',
      workdir: '/',
      tty,
      stdin: true,
      detachKeys: flags['detach-keys'],
    });
  },
});

/** Becomes the login shell of whoever runs it. Only what every POSIX sh has, and `id` where it is there. */
const login = `
uid=$(id -u 2>/dev/null) || uid=0
name= home= shell=
if [ -r /etc/passwd ]; then
  while IFS=: read -r n _ i _ _ h s; do
    if [ "$i" = "$uid" ]; then name=$n home=$h shell=$s; break; fi
  done </etc/passwd
fi
case $shell in ''|*/nologin|*/false|*/sync|*/halt|*/shutdown) shell=/bin/sh ;; esac
[ -x "$shell" ] || shell=/bin/sh
export HOME="\${home:-/}" SHELL="$shell" USER="\${name:-$uid}" LOGNAME="\${name:-$uid}"
cd "$HOME" 2>/dev/null || cd /
exec "$shell" -l
`;
