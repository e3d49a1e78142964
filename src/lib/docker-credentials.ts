import { mkdir, readFile, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { runCredentialHelper } from './credential-helper.ts';
import { errnoOf, isleError } from './errors.ts';

/** What a registry is told about who we are; the JSON behind the `X-Registry-Auth` header. */
export interface Credentials {
  username?: string;
  password?: string;
  /** Instead of a password: a refresh token from an earlier login. */
  identityToken?: string;
  /** Which registry they are for, as Docker writes it. */
  serverAddress?: string;
}

/** Docker Hub's key in `config.json`, for historical reasons. */
export const dockerHubAddress = 'https://index.docker.io/v1/';

const maxConfigBytes = 4 * 1024 * 1024;

/**
 * The user's registry credentials, where the `docker` command keeps them: `config.json` in `$DOCKER_CONFIG` or
 * `~/.docker`, or a credential helper named there (https://docs.docker.com/reference/cli/docker/login/).
 */
export class DockerCredentials {
  readonly #path: string;
  readonly #environment: NodeJS.ProcessEnv;

  constructor(environment: NodeJS.ProcessEnv = process.env) {
    this.#environment = environment;
    const home = environment.HOME || homedir();
    this.#path = join(environment.DOCKER_CONFIG || join(home, '.docker'), 'config.json');
  }

  /**
   * Credentials for `registry` (a reference's host: `docker.io`, `localhost:5000`), or undefined. Throws
   * `invalidParameter` when the file or a helper is broken.
   */
  async get(registry: string): Promise<Credentials | undefined> {
    const config = await this.#read();
    const address = addressOf(registry);
    const helper = helperFor(config, address);
    if (helper !== undefined) {
      const found = await runCredentialHelper(helper, 'get', address, this.#environment);
      return found && { ...found, serverAddress: address };
    }
    const auths = objectAt(config, 'auths');
    const key = [address, ...Object.keys(auths).filter((name) => hostOf(name) === hostOf(address))].find(
      (name) => Object.hasOwn(auths, name),
    );
    return key === undefined ? undefined : decode(objectAt(auths, key), address, this.#path);
  }

  /** Keeps credentials, in the helper where one is named; says where they went. */
  async store(registry: string, credentials: Credentials): Promise<{ helper?: string; path: string }> {
    const config = await this.#read();
    const address = addressOf(registry);
    const helper = helperFor(config, address);
    const auths = { ...objectAt(config, 'auths') };
    if (helper === undefined) auths[address] = encode(credentials);
    else {
      const secret = {
        ServerURL: address,
        Username: credentials.identityToken ? '<token>' : (credentials.username ?? ''),
        Secret: credentials.identityToken ?? credentials.password ?? '',
      };
      await runCredentialHelper(helper, 'store', JSON.stringify(secret), this.#environment);
      auths[address] = {};
    }
    await this.#write({ ...config, auths });
    return { helper, path: this.#path };
  }

  /** Forgets credentials; false when there were none. */
  async erase(registry: string): Promise<boolean> {
    const config = await this.#read();
    const address = addressOf(registry);
    const helper = helperFor(config, address);
    if (helper !== undefined) await runCredentialHelper(helper, 'erase', address, this.#environment);
    const auths = objectAt(config, 'auths');
    const kept = Object.entries(auths).filter(([name]) => hostOf(name) !== hostOf(address));
    const known = kept.length < Object.keys(auths).length;
    if (known) await this.#write({ ...config, auths: Object.fromEntries(kept) });
    return known || helper !== undefined;
  }

  async #read(): Promise<Json> {
    let text: string;
    try {
      text = await readFile(this.#path, 'utf8');
    } catch (error) {
      if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return {};
      throw isleError('invalidParameter', { message: `cannot read ${this.#path}: ${errnoOf(error)}` }, error);
    }
    if (text.length > maxConfigBytes) throw this.#broken('it is too large');
    if (text.trim() === '') return {};
    try {
      const value: unknown = JSON.parse(text);
      if (isObject(value)) return value;
    } catch (error) {
      throw this.#broken('it is not valid JSON', error);
    }
    throw this.#broken('it is not a JSON object');
  }

  /** A temporary file and a rename: a crash leaves the old or the new file; a symlink stays one. */
  async #write(config: Json): Promise<void> {
    await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
    const path = await realpath(this.#path).catch(() => this.#path);
    const temporary = `${path}.${process.pid}.tmp`;
    try {
      await writeFile(temporary, `${JSON.stringify(config, null, '\t')}\n`, { mode: 0o600, flush: true });
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw isleError('invalidParameter', { message: `cannot write ${path}: ${errnoOf(error)}` }, error);
    }
  }

  #broken(why: string, cause?: unknown): Error {
    return isleError('invalidParameter', { message: `cannot use ${this.#path}: ${why}` }, cause);
  }
}

/** The value of the `X-Registry-Auth` header. */
export function encodeRegistryAuth(credentials: Credentials | undefined): string {
  const { username, password, identityToken, serverAddress } = credentials ?? {};
  const json = { username, password, identitytoken: identityToken, serveraddress: serverAddress };
  return Buffer.from(JSON.stringify(json)).toString('base64url');
}

/** The registry a reference's host stands for, as the key in `auths`. */
export function addressOf(registry: string): string {
  const host = hostOf(registry);
  return ['docker.io', 'index.docker.io', 'registry-1.docker.io', ''].includes(host)
    ? dockerHubAddress
    : host;
}

type Json = Record<string, unknown>;

/** The helper for an address: its own one, else the store for all. */
function helperFor(config: Json, address: string): string | undefined {
  const own = objectAt(config, 'credHelpers')[hostOf(address)] ?? objectAt(config, 'credHelpers')[address];
  const name = own ?? config.credsStore;
  return typeof name === 'string' && name !== '' ? name : undefined;
}

function hostOf(address: string): string {
  return address.replace(/^https?:\/\//, '').replace(/\/.*$/s, '');
}

function decode(entry: Json, address: string, path: string): Credentials | undefined {
  const identityToken = textAt(entry, 'identitytoken');
  const packed = textAt(entry, 'auth');
  if (packed === undefined && identityToken === undefined) {
    const username = textAt(entry, 'username');
    return username === undefined
      ? undefined
      : { username, password: textAt(entry, 'password'), serverAddress: address };
  }
  const text = Buffer.from(packed ?? '', 'base64')
    .toString('utf8')
    .replace(/\0+$/, '');
  const colon = text.indexOf(':');
  if (packed && colon < 0)
    throw isleError('invalidParameter', {
      message: `cannot use ${path}: the entry for ${address} is not base64 of user:password; log in again`,
    });
  const username = text.slice(0, Math.max(colon, 0)) || undefined;
  const password = identityToken ? undefined : text.slice(colon + 1);
  return { username, password, identityToken, serverAddress: address };
}

function encode({ username, password, identityToken }: Credentials): Json {
  const auth = Buffer.from(`${username ?? ''}:${identityToken ? '' : (password ?? '')}`).toString('base64');
  return { auth, ...(identityToken && { identitytoken: identityToken }) };
}

function textAt(value: Json, key: string): string | undefined {
  const found = value[key];
  return typeof found === 'string' && found !== '' ? found : undefined;
}

function objectAt(value: Json, key: string): Json {
  const found = Object.hasOwn(value, key) ? value[key] : undefined;
  return isObject(found) ? found : {};
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
