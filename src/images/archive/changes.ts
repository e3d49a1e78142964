import type { HealthCheck } from '../../engine/model.ts';
import { isleError } from '../../lib/errors.ts';
import { parseDuration } from '../../lib/units.ts';
import type { ImageConfig } from '../images.ts';
import { words } from './words.ts';

/**
 * Applies the instructions that `commit --change` and `import --change` take, in order. Throws `invalidParameter` naming the
 * instruction. https://docs.docker.com/reference/cli/docker/container/commit/#change
 */
export function applyChanges(config: ImageConfig, changes: string[]): ImageConfig {
  const lines = changes.flatMap((change) => change.split('\n')).map((line) => line.trim());
  return lines
    .filter((line) => line !== '' && !line.startsWith('#'))
    .reduce(applyChange, structuredClone(config));
}

function applyChange(config: ImageConfig, line: string): ImageConfig {
  const [, name = '', rest = ''] = /^(\S+)\s*([^]*)$/.exec(line) ?? [];
  const apply = instructions[name.toUpperCase()];
  if (apply === undefined) throw invalid(line, `${name} is not a valid change command`);
  if (rest === '' && !/^(CMD|ENTRYPOINT)$/i.test(name))
    throw invalid(line, `${name.toUpperCase()} requires an argument`);
  return apply(config, rest, line);
}

type Instruction = (config: ImageConfig, rest: string, line: string) => ImageConfig;

const instructions: Record<string, Instruction | undefined> = {
  CMD: (config, rest) => ({ ...config, command: command(config, rest) }),
  ENTRYPOINT: (config, rest) => ({ ...config, entrypoint: command(config, rest) }),
  ENV: (config, rest, line) => ({
    ...config,
    env: pairs(rest, line).reduce(
      (env, [key, value]) => [...env.filter((item) => !item.startsWith(`${key}=`)), `${key}=${value}`],
      config.env,
    ),
  }),
  LABEL: (config, rest, line) => ({
    ...config,
    labels: { ...config.labels, ...Object.fromEntries(pairs(rest, line)) },
  }),
  EXPOSE: (config, rest, line) => ({
    ...config,
    exposedPorts: unique([...config.exposedPorts, ...words(rest).flatMap((word) => ports(word, line))]),
  }),
  USER: (config, rest, line) => ({ ...config, user: single(rest, line) }),
  VOLUME: (config, rest) => ({
    ...config,
    volumes: unique([...config.volumes, ...(jsonList(rest) ?? words(rest))]),
  }),
  WORKDIR: (config, rest, line) => ({ ...config, workingDir: join(config.workingDir, single(rest, line)) }),
  STOPSIGNAL: (config, rest, line) => ({ ...config, stopSignal: single(rest, line) }),
  ONBUILD: (config, rest, line) => {
    if (/^(ONBUILD|FROM|MAINTAINER)\b/i.test(rest))
      throw invalid(line, `${rest.split(' ')[0]} is not allowed as an ONBUILD trigger`);
    return { ...config, onBuild: [...(config.onBuild ?? []), rest] };
  },
  SHELL: (config, rest, line) => {
    const shell = jsonList(rest);
    if (!shell || shell.length === 0) throw invalid(line, 'SHELL requires the arguments to be in JSON form');
    return { ...config, shell };
  },
  HEALTHCHECK: (config, rest, line) => ({ ...config, healthcheck: healthCheck(config, rest, line) }),
};

/** A JSON list is the command itself, anything else is for the shell. */
function command(config: ImageConfig, rest: string): string[] {
  return jsonList(rest) ?? (rest === '' ? [] : [...(config.shell ?? ['/bin/sh', '-c']), rest]);
}

function jsonList(text: string): string[] | undefined {
  if (!text.startsWith('[')) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) && value.every((item) => typeof item === 'string')
      ? (value as string[])
      : undefined;
  } catch {
    return undefined;
  }
}

/** `key=value key="a b"`, or the old `key value with spaces`. */
function pairs(rest: string, line: string): [string, string][] {
  const [first = ''] = rest.split(/\s/, 1);
  if (!first.includes('=')) {
    const [, key = '', value] = /^(\S+)\s+([^]*)$/.exec(rest) ?? [];
    if (value === undefined) throw invalid(line, `${first} must have two arguments, or be key=value`);
    return [[key, words(value).join(' ')]];
  }
  return words(rest).map((word) => {
    const at = word.indexOf('=');
    if (at < 1) throw invalid(line, `"${word}" is not key=value`);
    return [word.slice(0, at), word.slice(at + 1)];
  });
}

function ports(word: string, line: string): string[] {
  const match = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/i.exec(word);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (!match || first < 1 || last > 65535 || last < first) throw invalid(line, `"${word}" is not a port`);
  const protocol = (match[3] ?? 'tcp').toLowerCase();
  return Array.from({ length: last - first + 1 }, (_, i) => `${first + i}/${protocol}`);
}

function healthCheck(config: ImageConfig, rest: string, line: string): HealthCheck {
  if (rest.toUpperCase() === 'NONE') return { test: ['NONE'] };
  const match = /^((?:--\S+\s+)*)CMD\s+([^]+)$/i.exec(rest);
  if (!match) throw invalid(line, 'HEALTHCHECK needs CMD or NONE');
  const list = jsonList(match[2]!);
  const check: HealthCheck = { test: list ? ['CMD', ...list] : ['CMD-SHELL', match[2]!] };
  for (const option of words(match[1]!)) {
    const [name = '', value = ''] = option.slice(2).split('=', 2);
    if (name === 'retries' && /^\d+$/.test(value)) check.retries = Number(value);
    else if (name in durations) check[durations[name as keyof typeof durations]] = parseDuration(value);
    else throw invalid(line, `${option} is not an option of HEALTHCHECK`);
  }
  return check;
}

const durations = {
  interval: 'interval',
  timeout: 'timeout',
  'start-period': 'startPeriod',
  'start-interval': 'startInterval',
} as const;

function single(rest: string, line: string): string {
  const found = words(rest);
  if (found.length !== 1) throw invalid(line, 'exactly one argument is required');
  return found[0]!;
}

function join(directory: string, path: string): string {
  const parts: string[] = [];
  for (const part of (path.startsWith('/') ? path : `${directory}/${path}`).split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}

function unique(items: string[]): string[] {
  return [...new Set(items)];
}

function invalid(line: string, why: string): Error {
  return isleError('invalidParameter', { message: `invalid change "${line}": ${why}` });
}
