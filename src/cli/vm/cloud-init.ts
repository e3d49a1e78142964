import { existsSync, readFileSync } from 'node:fs';
import type { CloudInit } from '../../engine/machine.ts';
import { messageOf } from '../../lib/errors.ts';
import { Failure } from '../failure.ts';
import { randomText, sha512Crypt } from './sha512-crypt.ts';
import { SubOptions } from './sub-options.ts';

export interface AskedSeed {
  /** Undefined: none. */
  cloudInit: Omit<CloudInit, 'instanceId'> | undefined;
  /** To be told to the user once the machine is there. */
  rootPassword?: string;
  notes: string[];
}

/**
 * `--cloud-init` as virt-install has it, a file of user-data, or nothing (a password for root is made up), and `--ssh-key`.
 * `expects`: images of its system wait for a seed, which is given even when it says nothing.
 */
export function parseSeed(
  given: string | undefined,
  keys: readonly string[],
  options: { hostname: string | undefined; expects: boolean },
): AskedSeed {
  const sshKeys = keys.flatMap(readKeys);
  const named = options.hostname !== undefined && { hostname: options.hostname };
  if (given === 'none') {
    if (keys.length > 0)
      throw new Failure('--ssh-key is given to the guest by cloud-init: leave out --cloud-init none');
    return { cloudInit: undefined, notes: [] };
  }
  if (given === undefined) {
    if (sshKeys.length === 0 && !options.expects) return { cloudInit: undefined, notes: [] };
    const notes =
      sshKeys.length > 0
        ? []
        : [
            'nobody can log in to an image as it is published: --ssh-key FILE, or --cloud-init for a password',
          ];
    return { cloudInit: { sshKeys, ...named }, notes };
  }
  if (given === '') return withRootPassword({ sshKeys, ...named }, randomText(16), []);
  if (!given.includes('='))
    return { cloudInit: { sshKeys, ...named, userData: readText(given) }, notes: userDataNotes(given) };
  return fromOptions(new SubOptions(given), { sshKeys, ...named });
}

function fromOptions(options: SubOptions, seed: Omit<CloudInit, 'instanceId'>): AskedSeed {
  const generate = options.flag('root-password-generate') ?? false;
  const passwordFile = options.text('root-password-file');
  const userData = options.text('user-data');
  const metaData = options.text('meta-data');
  const networkConfig = options.text('network-config');
  const both = options.text('ssh-key');
  const root = [both, options.text('root-ssh-key')].flatMap((one) =>
    one === undefined ? [] : readKeys(one),
  );
  const cloudUser = [both, options.text('clouduser-ssh-key')].flatMap((one) =>
    one === undefined ? [] : readKeys(one),
  );
  const user = options.text('user');
  const hostname = options.text('hostname');
  options.ignore('its seed stays with the machine, and cloud-init looks at it at every boot', 'disable');
  options.end();
  if (generate && passwordFile !== undefined)
    throw new Failure('root-password-generate and root-password-file: say one');
  const cloudInit: Omit<CloudInit, 'instanceId'> = {
    ...seed,
    sshKeys: [...seed.sshKeys, ...cloudUser],
    ...(root.length > 0 && { root: { sshKeys: root } }),
    ...(user !== undefined && { user }),
    ...(hostname !== undefined && { hostname }),
    ...(userData !== undefined && { userData: readText(userData) }),
    ...(metaData !== undefined && { metaData: readText(metaData) }),
    ...(networkConfig !== undefined && { networkConfig: readText(networkConfig) }),
  };
  const notes = [...options.notes, ...(userData === undefined ? [] : userDataNotes(userData))];
  if (generate) return withRootPassword(cloudInit, randomText(16), notes);
  if (passwordFile === undefined) return { cloudInit, notes };
  const [password = ''] = readText(passwordFile).split(/\r?\n/);
  if (password === '') throw new Failure(`${passwordFile}: its first line, the password, is empty`);
  return { cloudInit: withHash(cloudInit, password), notes };
}

function withRootPassword(
  seed: Omit<CloudInit, 'instanceId'>,
  rootPassword: string,
  notes: string[],
): AskedSeed {
  return { cloudInit: withHash(seed, rootPassword), rootPassword, notes };
}

function withHash(seed: Omit<CloudInit, 'instanceId'>, password: string): Omit<CloudInit, 'instanceId'> {
  return { ...seed, root: { sshKeys: seed.root?.sshKeys ?? [], passwordHash: sha512Crypt(password) } };
}

/** A public key as it is, or the file that holds one or several. */
function readKeys(given: string): string[] {
  const literal = /^(ssh-|ecdsa-|sk-)\S+ +\S/.test(given);
  const lines = (literal ? given : readKeyFile(given)).split(/\r?\n/).map((line) => line.trim());
  const keys = lines.filter((line) => line !== '' && !line.startsWith('#'));
  if (keys.length === 0) throw new Failure(`${given}: no SSH key in it`);
  for (const key of keys)
    if (!/^([\w@.-]+(="[^"]*")?[,\w-]* )*(ssh-|ecdsa-|sk-)\S+ +[A-Za-z0-9+/=]+( |$)/.test(key))
      throw new Failure(`${literal ? '' : `${given}: `}no public SSH key: "${key.slice(0, 60)}"`);
  return keys;
}

/** Of a private key the public one beside it: the private one never leaves this host. */
function readKeyFile(path: string): string {
  const text = readText(path);
  if (!/PRIVATE KEY/.test(text)) return text;
  if (existsSync(`${path}.pub`)) return readText(`${path}.pub`);
  throw new Failure(`${path} is a private key: give its public one (ssh-keygen -y -f ${path} writes it)`);
}

function userDataNotes(path: string): string[] {
  const known =
    /^(#cloud-config|#!|#include|#cloud-boothook|#cloud-config-archive|#part-handler|#upstart-job|## template: ?jinja|Content-Type:|From |MIME-Version:)/i;
  if (known.test(readText(path))) return [];
  return [`${path} begins with nothing that cloud-init knows (such as #cloud-config): it will not use it`];
}

/** Characters; far above what cloud-init takes. */
const longestFile = 1 << 20;

function readText(path: string): string {
  let data: Buffer;
  try {
    data = readFileSync(path);
  } catch (cause) {
    throw new Failure(`cannot read ${path}: ${messageOf(cause)}`, { cause });
  }
  if (data.length > longestFile)
    throw new Failure(`${path} has ${data.length} bytes: too much for cloud-init`);
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data);
  } catch (cause) {
    throw new Failure(`${path} is no text in UTF-8`, { cause });
  }
}
