import { access, constants } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { messageOf } from '../../lib/errors.ts';
import { ApiError } from '../client/errors.ts';
import { defineCommand } from '../command.ts';
import { compare } from '../compare/compare.ts';
import { isolationNames, parseIsolations } from '../compare/isolations.ts';
import { planOf } from '../compare/plan.ts';
import type { Report } from '../compare/report.ts';
import { containerFlags } from '../container/flags.ts';
import type { Context } from '../context.ts';
import { Failure } from '../failure.ts';
import { boolean, booleanOn, choice, duration, integerWithin, parsed, text } from '../flags.ts';

/** Flags of `run` that say what the workload is; those that say how it is isolated are what is compared. */
const workloadFlags = pick(
  'add-host',
  'cap-add',
  'cap-drop',
  'cpus',
  'dns',
  'entrypoint',
  'env',
  'env-file',
  'expose',
  'memory',
  'mount',
  'network',
  'platform',
  'publish',
  'pull',
  'quiet',
  'security-opt',
  'tmpfs',
  'user',
  'volume',
  'workdir',
);

export const command = defineCommand({
  usage: '[OPTIONS] IMAGE [-- COMMAND [ARG...]]',
  about:
    'Runs the workload as a container, as one with a user namespace, as a system container and as a microVM, one after the other; measures what each costs on this host and what it shares with it; and advises. Nothing of it stays.',
  examples: [
    { run: 'compare nginx', does: 'what each isolation costs for nginx, and which one it deserves' },
    { run: 'compare busybox -- echo hello', does: 'for a command that ends by itself' },
    {
      run: 'compare --trust hostile --isolations container,microvm IMAGE',
      does: 'for code that will attack',
    },
    { run: 'compare --quick --format json nginx > costs.json', does: 'for scripts, and fast' },
    { run: 'compare --chart costs.svg nginx', does: 'as a chart, too' },
  ],
  flags: {
    isolations: parsed('Which to compare, with commas', parseIsolations, {
      value: isolationNames.join(','),
      complete: isolationNames,
    }),
    runs: integerWithin(1, 100, 'Timed runs of each (5); slow isolations get by with three'),
    quick: boolean('Fewer runs and shorter probes'),
    trust: choice(['own', 'third-party', 'hostile'], 'Whose code it is, for the advice (third-party)'),
    'network-probe': booleanOn('Measure the network, too'),
    chart: text('Write a chart (SVG) to this file', { complete: 'file', value: 'file' }),
    format: choice(['table', 'json'], 'How to print the result (table)'),
    timeout: duration('Longest time to wait for a sign of life (15s)'),
    ...workloadFlags,
  },
  args: [1, Number.POSITIVE_INFINITY],
  complete: ['image', 'command'],
  errorCode: 125,
  async run(context, { args, flags }) {
    const [image = '', ...words] = args;
    const { trust, chart, format } = flags;
    if (chart !== undefined) await checkChart(chart);
    await ensureImage(context, image, flags);
    const plan = await planOf(context.client, flags, image, words);
    const abort = new AbortController();
    const release = onInterrupt(() => abort.abort());
    let report: Report;
    try {
      report = await compare(
        context,
        plan,
        {
          isolations: flags.isolations ?? [...isolationNames],
          runs: flags.runs ?? (flags.quick ? 3 : 5),
          rounds: flags.quick ? 3 : 5,
          probeMilliseconds: flags.quick ? 40 : 120,
          networkProbe: flags['network-probe'],
          trust: (trust ?? 'third-party') as Report['options']['trust'],
          patience: (flags.timeout ?? 15e9) / 1e6,
        },
        abort.signal,
      );
    } finally {
      release();
    }
    if (chart !== undefined) {
      const { writeChart } = await import('../compare/chart.ts');
      await writeChart(chart, report);
    }
    if (format === 'json') context.out.line(JSON.stringify(report, undefined, 2));
    else {
      const { printReport } = await import('../compare/table-view.ts');
      printReport(context.out, report);
      if (chart !== undefined) context.err.line(`isle: the chart is in ${chart}`);
    }
    return report.isolations.some(({ state }) => state === 'measured') ? 0 : 1;
  },
});

/** Calls back at Ctrl-C and at a plea to end; a second one ends at once, and the next comparison cleans up. */
function onInterrupt(interrupt: () => void): () => void {
  let asked = false;
  const handle = () => {
    if (asked) process.exit(130);
    asked = true;
    interrupt();
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, handle);
  return () => {
    for (const signal of signals) process.off(signal, handle);
  };
}

async function ensureImage(
  context: Context,
  image: string,
  flags: { pull: string | undefined; platform: string | undefined; quiet: boolean },
): Promise<void> {
  if (flags.pull !== undefined && !['always', 'missing', 'never'].includes(flags.pull))
    throw new Failure(`invalid pull option: '${flags.pull}': must be one of "always", "missing" or "never"`);
  if (flags.pull !== 'always') {
    const { imagePath } = await import('../image/path.ts');
    const status = await statusOf(context, `${imagePath(image)}/json`);
    if (status !== 404 || flags.pull === 'never') return;
    if (!flags.quiet) context.err.line(`isle: ${image} is not here yet, fetching it`);
  }
  const { pullImage } = await import('../image/pull.ts');
  await pullImage(context, image, { platform: flags.platform, quiet: flags.quiet, output: context.err });
}

async function statusOf({ client }: Context, path: string): Promise<number> {
  try {
    return await client.status('GET', path);
  } catch (error) {
    if (error instanceof ApiError) return error.status;
    throw error;
  }
}

/** Before anything is measured: a path that cannot be written would cost a minute. */
async function checkChart(path: string): Promise<void> {
  try {
    await access(dirname(resolve(path)), constants.W_OK);
  } catch (cause) {
    throw new Failure(`cannot write ${path}: ${messageOf(cause)}`, { exitCode: 125, cause });
  }
}

function pick<K extends keyof typeof containerFlags>(...names: K[]): Pick<typeof containerFlags, K> {
  const picked = names.map((name) => [name, containerFlags[name]]);
  return Object.fromEntries(picked) as Pick<typeof containerFlags, K>;
}
