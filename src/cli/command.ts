import type { Context } from './context.ts';
import type { AnyFlags, Completion, Values } from './flags.ts';

export interface Example {
  /** The call, without the leading `isle `. */
  run: string;
  /** What it does. */
  does: string;
}

export interface CommandSpec<F extends AnyFlags> {
  /** What follows the name: `[OPTIONS] IMAGE [COMMAND] [ARG...]`. */
  usage: string;
  /** What it is for, beyond the registry's one line. */
  about?: string;
  examples: readonly Example[];
  flags: F;
  /** Least and most arguments. */
  args: readonly [min: number, max: number];
  /** What each argument names, for completion; the last one repeats. */
  complete?: readonly Completion[];
  /** False: flags end at the first argument. Default true. */
  interspersed?: boolean;
  /** Exit code for errors of the engine; Docker's `run` uses 125, the others 1. */
  errorCode?: number;
  run(context: Context, call: Call<F>): Promise<number | void>;
}

export interface Call<F> {
  args: string[];
  flags: Values<F>;
  given: Set<string>;
}

/** A command with its flag types forgotten, as the dispatcher sees it. */
export interface Command extends Omit<CommandSpec<AnyFlags>, 'run'> {
  run(context: Context, call: Call<never>): Promise<number | void>;
}

/** Ties the types of a command's flags to its `run`. */
export function defineCommand<const F extends AnyFlags>(spec: CommandSpec<F>): Command {
  return spec as unknown as Command;
}
