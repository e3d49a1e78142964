import { messageOf } from '../../lib/errors.ts';
import { defineCommand } from '../command.ts';
import { engineFlags, enginePlace } from '../engine/options.ts';
import { boolean, choice } from '../flags.ts';
import type { Output } from '../terminal/output.ts';
import { withSpinner } from '../terminal/spinner.ts';
import { plural } from '../words.ts';
import type { Finding } from '../../host/doctor/doctor.ts';

export const command = defineCommand({
  usage: '[OPTIONS]',
  about: 'Looks at the kernel, control groups, storage, network and tools. The engine need not run.',
  examples: [
    { run: 'doctor', does: 'what is well here, and what is not' },
    { run: 'doctor --fix', does: 'put right what can be put right safely' },
  ],
  flags: {
    ...engineFlags,
    fix: boolean('Put right what is safe to put right'),
    format: choice(['table', 'json'], 'Output'),
    quiet: boolean('Only what is not well', { short: 'q' }),
  },
  args: [0, 0],
  async run({ out, err, env }, { flags }) {
    const { dataRoot, runRoot, instance } = enginePlace(flags, env);
    const options = { dataRoot, runRoot, instance };
    // The only look from the command line into host/: the doctor must work when no engine does.
    const { examineHost, fixHost } = await import('../../host/doctor/doctor.ts');
    let findings = await withSpinner(err, 'looking at this host', examineHost(options));
    if (flags.fix)
      findings = await fixHost(options, findings, (finding, error) => {
        const outcome = error === undefined ? err.paint.green('done') : err.paint.red(messageOf(error));
        err.line(`${finding.fix?.does ?? finding.name}: ${outcome}`);
      });
    if (flags.format === 'json')
      out.line(JSON.stringify(findings.map(({ fix, ...rest }) => ({ ...rest, fix: fix?.does }))));
    else print(out, flags.quiet ? findings.filter(({ status }) => status !== 'ok') : findings, flags.fix);
    return findings.some(({ status }) => status === 'fail') ? 1 : 0;
  },
});

function print(out: Output, findings: readonly Finding[], fixed: boolean): void {
  const { paint } = out;
  const marks = { ok: paint.green('✓'), warn: paint.yellow('!'), fail: paint.red('✗') };
  const width = Math.max(0, ...findings.map(({ name }) => name.length));
  for (const { status, name, found, why, advice, fix } of findings) {
    out.line(`${marks[status]} ${paint.bold(name.padEnd(width))}  ${found}`);
    if (status === 'ok') continue;
    const indent = ' '.repeat(width + 4);
    out.line(`${indent}${paint.dim(why)}`);
    if (advice !== undefined) out.line(`${indent}→ ${advice}`);
    if (fix && !fixed) out.line(`${indent}→ ${paint.cyan('isle doctor --fix')} does: ${fix.does}`);
  }
  const count = (status: Finding['status']) => findings.filter((finding) => finding.status === status).length;
  const fails = count('fail');
  const warns = count('warn');
  out.line();
  if (fails > 0)
    out.line(paint.red(`${plural(fails, 'thing')} must be put right before containers run here.`));
  else if (warns > 0) out.line(`Containers run here; ${plural(warns, 'thing')} could be better.`);
  else out.line(paint.green('All is well.'));
}
