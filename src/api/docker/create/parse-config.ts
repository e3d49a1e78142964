import type { ContainerSpec, HealthCheck } from '../../../engine/model.ts';
import { isleError } from '../../../lib/errors.ts';
import type { Fields } from '../../http/fields.ts';
import { parseExposedPorts } from './parse-ports.ts';

export type ConfigPart = Pick<
  ContainerSpec,
  | 'image'
  | 'entrypoint'
  | 'command'
  | 'env'
  | 'user'
  | 'workingDir'
  | 'tty'
  | 'openStdin'
  | 'stdinOnce'
  | 'attachStdin'
  | 'attachStdout'
  | 'attachStderr'
  | 'stopSignal'
  | 'stopTimeout'
  | 'healthcheck'
  | 'hostname'
  | 'domainname'
  | 'labels'
  | 'exposedPorts'
  | 'macAddress'
  | 'networkDisabled'
>;

/** ContainerConfig of the specification, without its volumes. Throws `invalidParameter`, `notImplemented`. */
export function parseConfig(config: Fields): ConfigPart {
  // OnBuild and Shell are an image's; ArgsEscaped is Windows'. Clients that copy an image's whole configuration send them.
  const image = config.text('Image');
  if (image === '') throw isleError('invalidParameter', { message: 'Config.Image: no image specified' });
  return {
    image,
    entrypoint: config.command('Entrypoint'),
    command: config.command('Cmd'),
    env: config.texts('Env'),
    user: config.text('User'),
    workingDir: config.text('WorkingDir'),
    tty: config.flag('Tty'),
    openStdin: config.flag('OpenStdin'),
    stdinOnce: config.flag('StdinOnce'),
    attachStdin: config.flag('AttachStdin'),
    attachStdout: config.flag('AttachStdout'),
    attachStderr: config.flag('AttachStderr'),
    stopSignal: config.text('StopSignal') || undefined,
    stopTimeout: config.optionalInteger('StopTimeout'),
    healthcheck: parseHealthcheck(config),
    hostname: config.text('Hostname'),
    domainname: config.text('Domainname'),
    labels: parseLabels(config),
    exposedPorts: parseExposedPorts(config),
    macAddress: config.text('MacAddress') || undefined,
    networkDisabled: config.flag('NetworkDisabled') || undefined,
  };
}

function parseLabels(config: Fields): Record<string, string> {
  const labels = config.textMap('Labels');
  if (Object.hasOwn(labels, ''))
    throw isleError('invalidParameter', { message: 'invalid label: its name is empty' });
  return labels;
}

/** Durations in nanoseconds; 0 inherits. */
function parseHealthcheck(config: Fields): HealthCheck | undefined {
  const fields = config.object('Healthcheck');
  if (!fields) return undefined;
  return {
    test: fields.command('Test') ?? [],
    interval: fields.positive('Interval'),
    timeout: fields.positive('Timeout'),
    startPeriod: fields.positive('StartPeriod'),
    startInterval: fields.positive('StartInterval'),
    retries: fields.positive('Retries'),
  };
}
