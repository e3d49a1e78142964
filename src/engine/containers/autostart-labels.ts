import { isleError } from '../../lib/errors.ts';
import type { Autostart } from '../engine.ts';

/** Labels, so that any client of the Docker API can set them. Those of an image say nothing here. */
const orderLabel = 'isle.autostart';
const delayLabel = 'isle.autostart.delay';

/** Seconds. */
const longestDelay = 3600;
const furthest = 1_000_000;

/** Undefined when it is not asked for. Throws `invalidParameter` for what is no order or delay. */
export function autostartOf(labels: Record<string, string>): Autostart | undefined {
  const text = labels[orderLabel]?.trim();
  if (text === undefined || ['', 'false', 'no', 'off'].includes(text)) return undefined;
  const order = ['true', 'yes', 'on'].includes(text) ? 0 : wholeNumber(orderLabel, text, -furthest, furthest);
  return { order, delay: wholeNumber(delayLabel, labels[delayLabel]?.trim() ?? '0', 0, longestDelay) };
}

/** The labels that say `wanted`; undefined takes them away. Throws `invalidParameter`. */
export function withAutostart(
  labels: Record<string, string>,
  wanted: Autostart | undefined,
): Record<string, string> {
  const { [orderLabel]: _order, [delayLabel]: _delay, ...others } = labels;
  if (!wanted) return others;
  const set = { [orderLabel]: String(wanted.order), [delayLabel]: String(wanted.delay) };
  autostartOf(set);
  return { ...others, ...set };
}

/** A label that was wrong before it was checked, or that an older Isle took, must not keep the engine from starting. */
export function knownAutostart(labels: Record<string, string>): Autostart | undefined {
  try {
    return autostartOf(labels);
  } catch {
    return undefined;
  }
}

function wholeNumber(label: string, text: string, min: number, max: number): number {
  const value = /^-?\d{1,8}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw isleError('invalidParameter', {
    message: `label ${label}=${text}: a whole number from ${min} to ${max} is expected`,
  });
}
