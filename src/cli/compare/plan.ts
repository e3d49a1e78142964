import type { Client } from '../client/client.ts';
import { toCreateBody } from '../container/config.ts';
import { type ContainerFlags, containerFlags } from '../container/flags.ts';
import { imagePath } from '../image/path.ts';
import type { Body } from './bench.ts';
import type { Isolation } from './isolations.ts';
import type { Workload } from './report.ts';

/** What is to be run, whatever isolates it. */
export interface Plan {
  image: string;
  imageId: string;
  /** The whole command, entry point first. */
  command: string[];
  workload: Omit<Workload, 'kind'>;
  /** As `isle run -d` would ask for it. */
  body: Body;
}

interface ImageAnswer {
  Id: string;
  Config?: {
    User?: string;
    Entrypoint?: string[] | null;
    Cmd?: string[] | null;
    ExposedPorts?: Record<string, unknown> | null;
    Healthcheck?: { Test?: string[] | null } | null;
  } | null;
}

/** Reads the image, which must be here, and merges the call into it. */
export async function planOf(
  client: Client,
  given: Partial<ContainerFlags>,
  image: string,
  words: readonly string[],
): Promise<Plan> {
  const { Id: imageId, Config: config } = await client.get<ImageAnswer>(`${imagePath(image)}/json`);
  const body = withoutStreams(toCreateBody({ ...unset(), ...given }, image, words));
  const command = commandOf(body, config ?? {});
  const user = (body.User as string | undefined) ?? config?.User ?? '';
  const exposed = { ...config?.ExposedPorts, ...(body.ExposedPorts as Record<string, unknown> | undefined) };
  return {
    image,
    imageId,
    command,
    body,
    workload: {
      user,
      root: /^(0|root)?(:|$)/.test(user),
      ports: tcpPorts(Object.keys(exposed)),
      healthcheck: hasCheck(config?.Healthcheck?.Test),
      isInit: command.length === 0 || isInit(command[0]),
    },
  };
}

/** The body of the workload's container in `isolation`. */
export function workloadBody(
  { body, command, workload }: Plan,
  isolation: Isolation,
  options: { health?: Record<string, unknown> },
): Body {
  const made: Body = {
    ...body,
    Healthcheck: options.health ?? { Test: ['NONE'] },
    HostConfig: { ...body.HostConfig, ...isolation.hostConfig },
  };
  // A system container runs the image's init; the workload comes into it as a further process.
  if (isolation.name !== 'system' || workload.isInit || command.length === 0) return made;
  return { ...made, Cmd: undefined, Entrypoint: undefined };
}

/** True where the workload is started by `exec` once the container runs. */
export function entersLater({ command, workload }: Plan, isolation: Isolation): boolean {
  return isolation.name === 'system' && !workload.isInit && command.length > 0;
}

function unset(): ContainerFlags {
  const entries = Object.entries(containerFlags).map(([name, flag]) => [name, flag.initial]);
  return Object.fromEntries(entries) as ContainerFlags;
}

function withoutStreams(body: Body): Body {
  return { ...body, AttachStdin: false, AttachStdout: false, AttachStderr: false, Tty: false };
}

/** As the engine merges them: an entry point of the call's own drops the image's command. */
function commandOf(body: Body, config: NonNullable<ImageAnswer['Config']>): string[] {
  const entrypoint = body.Entrypoint as string[] | undefined;
  const words = body.Cmd as string[] | undefined;
  const command = words ?? (entrypoint === undefined ? (config.Cmd ?? []) : []);
  return [...(entrypoint ?? config.Entrypoint ?? []), ...command].filter((word) => word !== '');
}

function tcpPorts(keys: readonly string[]): number[] {
  const ports = keys
    .map((key) => /^(\d+)(?:\/(\w+))?$/.exec(key))
    .filter((match) => match !== null && (match[2] ?? 'tcp') === 'tcp')
    .map((match) => Number(match?.[1]));
  return [...new Set(ports)].toSorted((a, b) => a - b);
}

function hasCheck(test: readonly string[] | null | undefined): boolean {
  return (test ?? []).length > 0 && test?.[0] !== 'NONE';
}

/** Programs that are the first process of a whole system. */
export function isInit(program: string | undefined): boolean {
  return /(^|\/)(init|systemd|openrc-init)$/.test(program ?? '');
}
