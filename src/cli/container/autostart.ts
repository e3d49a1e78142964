import { type Flag, integerWithin, parseInteger } from '../flags.ts';

/** `--autostart`, `--autostart=ORDER`, `--autostart=false`; undefined: not given. */
const autostart: Flag<number | false | undefined> = {
  help: 'Start it with the engine: =ORDER, lower ones first; =false not any more',
  initial: undefined,
  next: (given) => (given === 'false' ? false : given === 'true' ? 0 : parseInteger(given)),
};

/** What `run`, `create` and `update` have in common. */
export const autostartFlags = {
  autostart,
  'autostart-delay': integerWithin(0, 3600, 'Seconds to wait after it before the next order starts'),
} as const;

interface Given {
  autostart: number | false | undefined;
  'autostart-delay': number | undefined;
}

/** Labels, which the stock docker client can set too. */
export function autostartLabels(flags: Given): Record<string, string> {
  const { autostart: order, 'autostart-delay': delay } = flags;
  if (order === false || (order === undefined && delay === undefined)) return {};
  return {
    'isle.autostart': String(order ?? 0),
    ...(delay !== undefined && { 'isle.autostart.delay': String(delay) }),
  };
}
