import { isleError } from '../../lib/errors.ts';
import { run } from '../../host/run.ts';
import type { EngineContext } from '../context.ts';
import { withInsideIds } from './inside-ids.ts';
import { requireRunning } from './records.ts';
import { publishContainer } from './events.ts';

/** Milliseconds. */
const patience = 10_000;

/** `ps` on the host with the client's options, cut down to the container's processes (as Docker does it). */
export async function topContainer(
  ctx: EngineContext,
  reference: string,
  psArgs: string,
): Promise<{ titles: string[]; processes: string[][] }> {
  const record = requireRunning(ctx.records, reference);
  const args = splitArgs(psArgs.trim() === '' ? '-ef' : psArgs);
  const runtime = ctx.runtimeOf(record);
  const table = runtime.processTable
    ? await ownTable(() => runtime.processTable!(record.id), args, record.runtimeName)
    : await withInsideIds(await hostTable(runtime.processes(record.id), args), record.idMap);
  publishContainer(ctx, record, 'top');
  return table;
}

/** There is no `ps` to hand the client's options to. */
async function ownTable<T>(table: () => Promise<T>, args: string[], runtime: string): Promise<T> {
  if (args.join(' ') === '-ef') return await table();
  throw isleError('invalidParameter', {
    message: `ps options (${args.join(' ')}) are not possible with the runtime ${runtime}: its processes are not the host's; ask without them`,
  });
}

async function hostTable(found: Promise<number[]>, args: string[]) {
  const [pids, output] = await Promise.all([found, ps(args)]);
  return parsePs(output, new Set(pids));
}

/** Only options and column names: nothing that ps would take for a file or that a terminal would act on. */
function splitArgs(text: string): string[] {
  const args = text.trim().split(/\s+/);
  const wrong = args.find((arg) => !/^[-\w,=:%+.]+$/.test(arg));
  if (wrong !== undefined)
    throw isleError('invalidParameter', { message: `invalid ps option: ${JSON.stringify(wrong)}` });
  return args;
}

async function ps(args: string[]): Promise<string> {
  const { stdout, stderr, code } = await run('ps', args, { timeout: patience });
  if (code !== 0) {
    const why = String(stderr).trim().split('\n')[0] ?? '';
    throw isleError('invalidParameter', { message: `error running ps ${args.join(' ')}: ${why}` });
  }
  return String(stdout);
}

export function parsePs(
  output: string,
  pids: ReadonlySet<number>,
): { titles: string[]; processes: string[][] } {
  const [head = '', ...lines] = output.split('\n').filter((line) => line.trim() !== '');
  const titles = head.trim().split(/\s+/);
  const column = titles.indexOf('PID');
  if (column < 0)
    throw isleError('invalidParameter', {
      message: "couldn't find PID field in ps output: add pid to the columns asked for",
    });
  const processes = lines
    .map((line) => fieldsOf(line, titles.length))
    .filter((fields) => pids.has(Number(fields[column])));
  return { titles, processes };
}

/** The last column (a command) may hold blanks. */
function fieldsOf(line: string, count: number): string[] {
  const fields = line.trim().split(/\s+/);
  return fields.length <= count ? fields : [...fields.slice(0, count - 1), fields.slice(count - 1).join(' ')];
}
