import { messageOf } from '../lib/errors.ts';
import { ApiError } from './client/errors.ts';
import { type Context, createContext, type Globals } from './context.ts';
import { Failure, usageError } from './failure.ts';
import { parseArguments } from './parse.ts';
import { absent, findCommand, firstWords, groups, secondWords } from './registry.ts';
import { nearest } from '../lib/suggest.ts';
import type { ColorMode } from './terminal/output.ts';

/** Runs the command that `argv` (without node and script) names, and sets the exit code. */
export async function dispatch(argv: readonly string[]): Promise<void> {
  let context: Context | undefined;
  let errorCode = 1;
  try {
    const { globals, rest } = splitGlobals(argv);
    context = createContext(globals, process.env, '');
    if (rest[0] === 'daemon') return await becomeDaemon(rest.slice(1));
    if (rest.length === 0) return await showHelp(context, []);
    const found = findCommand(rest);
    if (!found) {
      const [first = ''] = rest;
      if (Object.hasOwn(groups, first) && (rest.length === 1 || rest[1] === '--help' || rest[1] === '-h'))
        return await showHelp(context, [first]);
      throw unknownCommand(rest);
    }
    context = createContext(globals, process.env, found.name);
    const { command } = await found.entry.load();
    const parsed = parseArguments(rest.slice(found.words), command.flags, {
      interspersed: command.interspersed ?? true,
    });
    if (parsed.help) return await showHelp(context, found.name.split(' '));
    checkCount(found.name, command.usage, command.args, parsed.args.length);
    errorCode = command.errorCode ?? 1;
    const code = await command.run(context, parsed as never);
    process.exitCode = code ?? process.exitCode ?? 0;
  } catch (error) {
    process.exitCode = await report(error, context, errorCode);
  }
}

/** `isle daemon`: this process is the engine from here on. */
async function becomeDaemon(args: readonly string[]): Promise<never> {
  const { daemonCall } = await import('./root.ts');
  const { argv, env } = daemonCall(args);
  return process.execve!(argv[0] as string, argv, env);
}

/** Flags before the command: `--host`/`-H`, `--color`, `--version`/`-v`, `--help`/`-h`. */
function splitGlobals(argv: readonly string[]): { globals: Globals; rest: string[] } {
  const globals: Globals = { host: undefined, color: 'auto' };
  let index = 0;
  const value = (word: string, name: string): string => {
    if (word.startsWith(`${name}=`)) return word.slice(name.length + 1);
    const next = argv[++index];
    if (next === undefined) throw usageError(`flag needs an argument: ${name}`);
    return next;
  };
  for (; index < argv.length; index++) {
    const word = argv[index] as string;
    if (word === '--host' || word.startsWith('--host=')) globals.host = value(word, '--host');
    else if (word === '-H') globals.host = value(word, '-H');
    else if (word === '--color' || word.startsWith('--color=')) {
      const mode = value(word, '--color');
      if (mode !== 'auto' && mode !== 'always' && mode !== 'never')
        throw usageError(`--color must be auto, always or never, not "${mode}"`);
      globals.color = mode satisfies ColorMode;
    } else if (word === '--help' || word === '-h')
      return { globals, rest: ['help', ...argv.slice(index + 1)] };
    else if (word === '--version' || word === '-v') return { globals, rest: ['version', '--short'] };
    else if (word.startsWith('-'))
      throw usageError(`unknown flag: ${word}`, 'flags of a command come after its name: isle --help');
    else break;
  }
  return { globals, rest: argv.slice(index) };
}

async function showHelp(context: Context, words: string[]): Promise<void> {
  const { printHelp } = await import('./help.ts');
  await printHelp(context, words);
}

/** Docker's exit code for a call that names no command, or too few arguments: 1, even of `run`. */
const wrongCall = 1;

function unknown(message: string, hint: string): Failure {
  return new Failure(message, { exitCode: wrongCall, hint });
}

function unknownCommand(words: readonly string[]): Failure {
  const [first = '', second] = words;
  if (Object.hasOwn(groups, first) && second !== undefined) {
    const near = nearest(second, secondWords(first));
    return unknown(
      `unknown command: ${first} ${second}`,
      near === undefined ? `see: isle ${first} --help` : `did you mean: isle ${first} ${near}?`,
    );
  }
  if (absent.has(first)) return unknown(`isle has no "${first}" yet`, 'see: isle help');
  const near = nearest(first, firstWords());
  return unknown(
    `unknown command: ${first}`,
    near === undefined ? 'see: isle help' : `did you mean: isle ${near}?`,
  );
}

function checkCount(name: string, usage: string, [min, max]: readonly [number, number], count: number): void {
  if (count >= min && count <= max) return;
  const many = (amount: number) => `${amount} argument${amount === 1 ? '' : 's'}`;
  const wanted =
    min === max
      ? min === 0
        ? 'takes no arguments'
        : `needs exactly ${many(min)}`
      : count < min
        ? `needs at least ${many(min)}`
        : `takes at most ${many(max)}`;
  throw new Failure(`isle ${name} ${wanted}`, { exitCode: wrongCall, hint: `usage: isle ${name} ${usage}` });
}

/** One line on stderr, and a hint where there is one; the exit code. */
async function report(error: unknown, context: Context | undefined, errorCode: number): Promise<number> {
  let failure: Failure;
  if (error instanceof Failure) failure = error;
  else if (error instanceof ApiError && context) {
    const { explain } = await import('./explain.ts');
    failure = await explain(error, context, errorCode);
  } else failure = new Failure(messageOf(error), { exitCode: errorCode, cause: error });
  if (process.env.ISLE_DEBUG) console.error(error);
  const lines = [`isle: ${oneLine(failure.message)}`];
  if (failure.hint !== undefined) lines.push(`      ${failure.hint}`);
  const text = lines.join('\n');
  if (context) context.err.foreign(text);
  else console.error(text);
  // A daemon that does not run is an engine error wherever the command says so.
  return failure.exitCode === 1 ? errorCode : failure.exitCode;
}

function oneLine(message: string): string {
  return message.trim().replace(/\s*\n\s*/g, ': ');
}
