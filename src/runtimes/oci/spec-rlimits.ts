import type { Ulimit } from '../../engine/model.ts';
import { highestHardLimit, RLIMITS, type RlimitName } from '../../host/limits.ts';
import { isleError } from '../../lib/errors.ts';

/** RLIM_INFINITY, which is no exact number of JavaScript's: written as these digits. */
const infinity = (JSON as unknown as { rawJSON(text: string): number }).rawJSON('18446744073709551615');

/**
 * The asked-for limits. One that this host cannot set (above this process's own hard limit without CAP_SYS_RESOURCE,
 * or more files than the kernel allows) is refused with the highest there is, instead of failing later without a reason.
 */
export function rlimitsOf(ulimits: Ulimit[]): { type: string; soft: number; hard: number }[] {
  return ulimits.map(({ name, soft, hard }) => {
    if (!isKnown(name)) throw invalid(`invalid ulimit type: ${name}`);
    if (unlimitedOr(soft) > unlimitedOr(hard))
      throw invalid(
        `ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard} (${name})`,
      );
    const highest = highestHardLimit(name);
    if (unlimitedOr(hard) > highest)
      throw invalid(
        `ulimit ${name}=${soft}:${hard} cannot be set: the highest hard limit here is ${highest} (see isle doctor)`,
      );
    return { type: `RLIMIT_${name.toUpperCase()}`, soft: toJson(soft), hard: toJson(hard) };
  });
}

/** Docker has no `--ulimit as`. */
function isKnown(name: string): name is RlimitName {
  return name !== 'as' && Object.hasOwn(RLIMITS, name);
}

function unlimitedOr(value: number): number {
  return value < 0 ? Infinity : value;
}

function toJson(value: number): number {
  return value < 0 ? infinity : value;
}

function invalid(message: string) {
  return isleError('invalidParameter', { message });
}
