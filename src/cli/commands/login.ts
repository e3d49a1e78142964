import type { Readable } from 'node:stream';
import { defineCommand } from '../command.ts';
import { readAll } from '../client/lines.ts';
import { Failure } from '../failure.ts';
import { boolean, text } from '../flags.ts';
import { addressOf, DockerCredentials } from '../../lib/docker-credentials.ts';
import { ask } from '../terminal/prompt.ts';

export const command = defineCommand({
  usage: '[OPTIONS] [SERVER]',
  about:
    'Keeps the credentials where docker does: in ~/.docker/config.json, or the credential helper it names.',
  examples: [
    { run: 'login', does: 'Docker Hub; asks for user and password' },
    { run: 'login -u robot --password-stdin registry.example:5000 < token', does: 'without questions' },
  ],
  flags: {
    password: text('Password; better --password-stdin, as others can see command lines', { short: 'p' }),
    'password-stdin': boolean('Read the password from stdin'),
    username: text('User', { short: 'u' }),
  },
  args: [0, 1],
  async run(context, { args: [server], flags }) {
    const { client, out, err, env } = context;
    const registry = toHost(server);
    if (flags['password-stdin'] && flags.password !== undefined)
      throw new Failure('--password and --password-stdin are mutually exclusive');
    if (flags['password-stdin'] && flags.username === undefined)
      throw new Failure('Must provide --username with --password-stdin');
    if (flags.password !== undefined)
      err.line('isle: warning: a password on the command line can be seen by others; use --password-stdin');
    const username = flags.username ?? (await askUsername(context, registry));
    const password = flags['password-stdin']
      ? (await readAll(process.stdin as Readable)).toString().replace(/\r?\n$/, '')
      : (flags.password ?? (await askHidden(err)));
    if (username === '' || password === '') throw new Failure('username and password must not be empty');
    const answer = await client.post<{ Status: string; IdentityToken?: string }>('/auth', {
      body: {
        username,
        password,
        serveraddress: addressOf(registry),
      },
    });
    const { helper, path } = await new DockerCredentials(env).store(registry, {
      username,
      ...(answer.IdentityToken ? { identityToken: answer.IdentityToken } : { password }),
    });
    if (helper === undefined)
      err.line(`isle: the password is stored unencrypted in ${path}; a credential helper keeps it better`);
    out.line(answer.Status || 'Login Succeeded');
  },
});

/** The host that a server address names; Docker Hub for none. */
export function toHost(server: string | undefined): string {
  const host = (server ?? '').replace(/^https?:\/\//, '').replace(/\/.*$/, '');
  return host === '' || host === 'index.docker.io' || host === 'registry-1.docker.io' ? 'docker.io' : host;
}

async function askUsername(
  { err, env }: Parameters<typeof command.run>[0],
  registry: string,
): Promise<string> {
  if (!process.stdin.isTTY)
    throw new Failure('no terminal to ask for the user', { hint: 'use -u USER --password-stdin' });
  const known = (await new DockerCredentials(env).get(registry))?.username ?? '';
  const typed = await ask(err, known === '' ? 'Username: ' : `Username (${known}): `, false);
  return typed?.trim() || known;
}

async function askHidden(err: Parameters<typeof ask>[0]): Promise<string> {
  if (!process.stdin.isTTY)
    throw new Failure('no terminal to ask for the password', { hint: 'use --password-stdin' });
  return (await ask(err, 'Password: ', true)) ?? '';
}
