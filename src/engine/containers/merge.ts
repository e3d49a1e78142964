import type { ImageConfig } from '../../images/images.ts';
import { isleError } from '../../lib/errors.ts';
import type { Container, ContainerSpec, HealthCheck, PortKey } from '../model.ts';

type Merged = Pick<
  Container,
  'spec' | 'process' | 'stopSignal' | 'healthcheck' | 'exposedPorts' | 'labels' | 'hostname' | 'bootsInit'
>;

const defaultPath = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/**
 * What an image and `docker create` say together, by Docker's rules: an entrypoint that is given drops the image's
 * command, `['']` resets the image's entrypoint, variables and labels of the spec win. Throws `invalidParameter`
 * when there is nothing to run.
 *
 * @param bootsInit the runtime starts the distribution's init when the user names no command, whatever the image says.
 */
export function mergeImage(
  asked: ContainerSpec,
  image: ImageConfig,
  hostname: string,
  bootsInit = false,
): Merged {
  const { entrypoint, command } = mergeCommand(asked, image);
  const boots = bootsInit && !asked.entrypoint?.length && !asked.command?.length;
  const said = [...(entrypoint ?? []), ...(command ?? [])];
  const argv = boots ? [init] : said;
  if (argv.length === 0 || argv[0] === '')
    throw isleError('invalidParameter', { message: 'no command specified' });
  const env = mergeEnv(asked.env, image.env);
  const spec: ContainerSpec = {
    ...asked,
    entrypoint,
    command,
    env,
    user: asked.user || image.user,
    workingDir: asked.workingDir || image.workingDir,
  };
  return {
    spec,
    process: {
      path: argv[0]!,
      args: argv.slice(1),
      env: processEnv(env, hostname, asked.tty),
      cwd: spec.workingDir || '/',
      user: spec.user,
    },
    stopSignal: asked.stopSignal || image.stopSignal || (bootsInit ? '' : 'SIGTERM'),
    healthcheck: mergeHealth(asked.healthcheck, image.healthcheck),
    exposedPorts: mergePorts(asked, image),
    labels: { ...image.labels, ...asked.labels },
    hostname,
    ...(boots && { bootsInit: true }),
  };
}

/** What is shown until the runtime has looked for the init that is there. */
const init = '/sbin/init';

function mergeCommand(
  asked: ContainerSpec,
  image: ImageConfig,
): Pick<ContainerSpec, 'entrypoint' | 'command'> {
  const reset = asked.entrypoint?.length === 1 && asked.entrypoint[0] === '';
  const given = asked.entrypoint !== undefined && asked.entrypoint.length > 0;
  const command = given || asked.command?.length ? asked.command : image.command;
  const entrypoint = reset ? undefined : (asked.entrypoint ?? image.entrypoint);
  return { entrypoint, command };
}

function mergeEnv(asked: string[], image: string[]): string[] {
  const names = new Set(asked.map(nameOf));
  return [...asked, ...image.filter((entry) => !names.has(nameOf(entry)))];
}

/** The environment of the first process; an entry without `=` takes a default away. */
function processEnv(env: string[], hostname: string, tty: boolean): string[] {
  const result = new Map<string, string>();
  const defaults = [defaultPath, `HOSTNAME=${hostname}`, ...(tty ? ['TERM=xterm'] : [])];
  for (const entry of [...defaults, ...env]) {
    if (entry.includes('=')) result.set(nameOf(entry), entry);
    else result.delete(entry);
  }
  if (!env.some((entry) => nameOf(entry) === 'HOME')) result.delete('HOME');
  return [...result.values()];
}

function nameOf(entry: string): string {
  const at = entry.indexOf('=');
  return at < 0 ? entry : entry.slice(0, at);
}

/** What the spec leaves open comes from the image; `NONE` or no test at all means no check. */
function mergeHealth(
  asked: HealthCheck | undefined,
  image: HealthCheck | undefined,
): HealthCheck | undefined {
  const merged = { ...image, ...definedOf(asked) } as HealthCheck;
  if (!asked?.test.length) merged.test = image?.test ?? [];
  return merged.test.length === 0 || merged.test[0] === 'NONE' ? undefined : merged;
}

function definedOf(check: HealthCheck | undefined): Partial<HealthCheck> {
  return Object.fromEntries(
    Object.entries(check ?? {}).filter(([, value]) => value !== undefined && value !== 0),
  );
}

function mergePorts(asked: ContainerSpec, image: ImageConfig): PortKey[] {
  const ports = new Map<string, PortKey>();
  const add = ({ port, protocol }: PortKey) => ports.set(`${port}/${protocol}`, { port, protocol });
  asked.exposedPorts.forEach(add);
  asked.portBindings.forEach(add);
  for (const text of image.exposedPorts) for (const key of imagePorts(text)) add(key);
  return [...ports.values()];
}

/** An image's `80/tcp`, `53/udp` or `8000-8010`. What is no port is left out: it comes from an image and opens nothing. */
function imagePorts(text: string): PortKey[] {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/i.exec(text);
  if (!match) return [];
  const first = Number(match[1]);
  const last = Number(match[2] ?? match[1]);
  if (first < 1 || last > 65_535 || last < first || last - first > 1000) return [];
  const protocol = (match[3]?.toLowerCase() ?? 'tcp') as PortKey['protocol'];
  return Array.from({ length: last - first + 1 }, (_, i) => ({ port: first + i, protocol }));
}
