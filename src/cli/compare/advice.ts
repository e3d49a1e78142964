import { type IsolationName, isolations } from './isolations.ts';
import { formatValue } from './metrics.ts';
import type { Advice, IsolationReport, Trust, Workload } from './report.ts';
import type { Summary } from './samples.ts';

type Given = Pick<Workload, 'isInit' | 'root' | 'ports' | 'kind'>;

/** Which isolation a workload deserves here, by what was asked, what it is and what was measured. */
export function adviseOn(
  reports: readonly IsolationReport[],
  workload: Given,
  trust: Trust,
  kvm: boolean,
): Advice {
  const found = (name: IsolationName) => reports.find(({ isolation }) => isolation === name);
  const works = (name: IsolationName) => found(name)?.state === 'measured';
  const choice = choose(works, workload, trust);
  const chosen = choice === 'none' ? undefined : found(choice);
  const plain = works('container') ? found('container') : undefined;
  const reasons = [
    trustReason(trust),
    ...workloadReasons(workload),
    ...sharingReasons(chosen),
    ...(chosen && plain && chosen !== plain ? [costReason(chosen, plain)] : []),
    ...(choice === 'none' || (choice === 'container' && trust !== 'own') ? absentReasons(reports) : []),
    ...alternatives(choice, found, works, plain, kvm),
  ];
  return { isolation: choice, trust, summary: summaryOf(choice, trust), reasons };
}

function choose(
  works: (name: IsolationName) => boolean,
  { isInit }: Given,
  trust: Trust,
): IsolationName | 'none' {
  const first = (...names: IsolationName[]) => names.find(works) ?? 'none';
  if (trust === 'hostile') return first('microvm');
  if (isInit) return first('system', 'microvm');
  if (trust === 'third-party') return first('userns', 'microvm', 'container');
  return first('container', 'userns');
}

function summaryOf(choice: IsolationName | 'none', trust: Trust): string {
  if (choice === 'none')
    return trust === 'hostile'
      ? 'Advice: do not run this here: nothing that was measured is enough for hostile code.'
      : 'Advice: none of what was measured suits this workload.';
  const { words, flags } = isolations[choice];
  return `Advice: run it as ${words} (isle run ${flags}).`;
}

function trustReason(trust: Trust): string {
  if (trust === 'own')
    return 'It is your own code (--trust own): what it shares with the host is a risk you know.';
  if (trust === 'third-party')
    return "It is others' code (--trust third-party): a flaw in it must not make anybody root on this host.";
  return 'It is hostile code (--trust hostile): it will try to break out, and a kernel shared with it is what it attacks.';
}

function workloadReasons({ isInit, root, ports }: Given): string[] {
  return [
    ...(isInit ? ['What it runs is an init, which wants to be the first process of a whole system.'] : []),
    ...(root ? ['It runs as root inside, so it matters whom that root is outside.'] : []),
    ...(ports.length > 0
      ? [`It listens on port ${ports.join(', ')}: whoever reaches that may try to take it over.`]
      : []),
  ];
}

function sharingReasons(chosen: IsolationReport | undefined): string[] {
  const sharing = chosen?.sharing;
  if (!chosen || !sharing) return [];
  const { words } = isolations[chosen.isolation];
  if (!sharing.sharesKernel)
    return [
      `In ${words} it has a kernel of its own (${sharing.kernel}); what could break out of that is user ${sharing.hostUsers.join(', ')} here.`,
    ];
  const calls = `${sharing.reachableCalls.length} of ${sharing.triedCalls} risky system calls that were tried reach the host's kernel`;
  if (sharing.rootIs === undefined || sharing.rootIs === 0)
    return [`In ${words} root inside is root here, and ${calls}.`];
  return [`In ${words} root inside is user ${sharing.rootIs} here, who owns nothing, and ${calls}.`];
}

function costReason(chosen: IsolationReport, plain: IsolationReport): string {
  return `Compared with a plain container: ${costs(chosen, plain)}.`;
}

/** `first sign of life after 2 s instead of 61 ms; …`: what stands out from the noise. */
function costs(one: IsolationReport, other: IsolationReport): string {
  const [life, otherLife] = [one, other].map(
    ({ times }) => times.firstOutput ?? times.listening ?? times.started,
  );
  const compared: [Summary | undefined, Summary | undefined, (a: Summary, b: Summary) => string][] = [
    [life, otherLife, (a, b) => `first sign of life after ${pair(a, b)}`],
    [one.memory?.total, other.memory?.total, (a, b) => `${pair(a, b)} of memory`],
    ...(['cpu', 'smallFiles', 'netReceive'] as const).map(
      (key): [Summary | undefined, Summary | undefined, (a: Summary, b: Summary) => string] => [
        one.probes[key],
        other.probes[key],
        (a, b) => `${formatRatio(a.median / b.median)} of its ${speeds[key]}`,
      ],
    ),
  ];
  const known = compared.flatMap(([a, b, say]) => (a && b ? [{ a, b, say }] : []));
  if (known.length === 0) return 'its cost could not be measured';
  const differing = known.filter(({ a, b }) => differs(a, b)).map(({ a, b, say }) => say(a, b));
  return differing.join('; ') || 'nothing that stands out from the noise of the measurement';
}

const speeds = { cpu: 'CPU speed', smallFiles: 'file operations', netReceive: 'network throughput' };

/**
 * Whether two measurements are apart: their ranges do not overlap, and the fewer samples there are, the more apart they
 * must be, as a few fall apart by chance (three against three in every tenth comparison).
 */
export function differs(a: Summary, b: Summary): boolean {
  const ratio = Math.max(a.median, b.median) / Math.max(Math.min(a.median, b.median), Number.MIN_VALUE);
  const apart = a.low > b.high || b.low > a.high;
  const samples = Math.min(a.samples.length, b.samples.length);
  if (samples < 3) return ratio > 3;
  return apart && ratio > (samples < 5 ? 2 : 1.1);
}

function pair(a: Summary, b: Summary): string {
  return `${formatValue(a.median, a.unit)} instead of ${formatValue(b.median, b.unit)}`;
}

function formatRatio(ratio: number): string {
  const percent = ratio * 100;
  return `${percent < 9.5 ? percent.toPrecision(1) : Math.round(percent)} %`;
}

function absentReasons(reports: readonly IsolationReport[]): string[] {
  return reports
    .filter(({ state }) => state !== 'measured')
    .map(
      ({ isolation, reason }) =>
        `${capital(isolations[isolation].words)} did not work: ${reason ?? 'no reason is known'}.`,
    );
}

/** What was not chosen, and what it would have cost or brought. */
function alternatives(
  choice: IsolationName | 'none',
  found: (name: IsolationName) => IsolationReport | undefined,
  works: (name: IsolationName) => boolean,
  plain: IsolationReport | undefined,
  kvm: boolean,
): string[] {
  const reasons: string[] = [];
  if (choice === 'container' && works('userns') && plain)
    reasons.push(`A user namespace on top would cost: ${costs(found('userns')!, plain)}.`);
  if (choice !== 'microvm' && choice !== 'none' && works('microvm') && plain)
    reasons.push(`A microVM would not share the kernel, and costs: ${costs(found('microvm')!, plain)}.`);
  if (works('microvm') && !kvm)
    reasons.push(
      'The microVM ran without KVM, its processor in software: what it costs with KVM was not measured here.',
    );
  return reasons;
}

function capital(text: string): string {
  return text[0]!.toUpperCase() + text.slice(1);
}
