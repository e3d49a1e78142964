import { messageOf } from '../../lib/errors.ts';
import type { Context } from '../context.ts';
import { adviseOn } from './advice.ts';
import { Bench } from './bench.ts';
import { type IsolationName, isolations } from './isolations.ts';
import { removeLeftovers } from './leftovers.ts';
import { Peer } from './peer.ts';
import type { Plan } from './plan.ts';
import { ProbeBox, probeKinds } from './probe-box.ts';
import { Progress } from './progress.ts';
import type { HostPart, Report, Trust } from './report.ts';
import { Subject } from './subject.ts';
import type { HostFacts } from './sharing.ts';
import { timedRun } from './timed-run.ts';
import { makeVolumes } from './volumes.ts';

export interface CompareOptions {
  isolations: IsolationName[];
  /** Timed runs of the workload for each isolation, after a first that does not count. */
  runs: number;
  /** How often each probe is run. */
  rounds: number;
  probeMilliseconds: number;
  networkProbe: boolean;
  trust: Trust;
  /** Milliseconds to wait for a workload's sign of life. */
  patience: number;
}

/** Milliseconds to wait for a sign of life of a workload that gave none before. */
const silentPatience = 1000;
/** Seconds between the stop signal and the kill. */
const stopTimeout = 3;

/** Runs the workload in every isolation, measures, and advises. Whatever happens, nothing of it stays. */
export async function compare(
  context: Context,
  plan: Plan,
  options: CompareOptions,
  signal: AbortSignal,
): Promise<Report> {
  const { client } = context;
  const [host, facts] = await Promise.all([hostOf(context), client.get<HostFacts>('/isle/v1/host')]);
  await removeLeftovers(client);
  const bench = new Bench(client, signal);
  const subjects = options.isolations.map((name) => new Subject(isolations[name]));
  const each = options.runs + 2 + options.rounds * probeKinds.length;
  const progress = new Progress(context.err, subjects.length * each);
  let peer: Peer | undefined;
  const cleanUp = async () => {
    progress.phase('removing all of it');
    peer?.close();
    try {
      await bench.removeAll();
    } finally {
      progress.end();
    }
  };
  try {
    progress.phase('starting the peer of the probes');
    peer = await Peer.start(bench, plan.body);
    await makeVolumes(bench, plan.body);
    const work = { bench, peer, plan, options, progress, patience: options.patience };
    await timeWorkload(work, subjects);
    await probeIsolations(work, subjects);
  } catch (error) {
    await cleanUp().catch((late: unknown) => context.err.foreign(`isle: ${messageOf(late)}`));
    throw error;
  }
  await cleanUp();
  for (const subject of subjects)
    if (subject.isolation.name === 'microvm' && subject.exists && !facts.Kvm.Usable)
      subject.note(
        "QEMU's TCG was its processor, as KVM cannot be used here: under KVM its numbers would differ",
      );
  const reports = subjects.map((subject) => subject.report(facts));
  const workload = { kind: kindOf(subjects), ...plan.workload };
  return {
    schema: 'isle-compare/1',
    date: new Date().toISOString(),
    image: plan.image,
    imageId: plan.imageId,
    command: plan.command,
    host: host(facts),
    options: {
      runs: options.runs,
      rounds: options.rounds,
      probeMilliseconds: options.probeMilliseconds,
      trust: options.trust,
      networkProbe: options.networkProbe,
    },
    workload,
    isolations: reports,
    advice: adviseOn(reports, workload, options.trust, facts.Kvm.Usable),
  };
}

interface Work {
  bench: Bench;
  peer: Peer;
  plan: Plan;
  options: CompareOptions;
  progress: Progress;
  /** Milliseconds to wait for a sign of life from now on. */
  patience: number;
}

/** Interleaved: what disturbs the host for a while disturbs all of them. */
async function timeWorkload(work: Work, subjects: readonly Subject[]): Promise<void> {
  const { progress, options } = work;
  progress.phase('first run of each, not counted');
  for (const subject of subjects) {
    await timeOnce(work, subject, true);
    // Who gives no sign of life here gives none elsewhere: it is waited for in earnest only once.
    if (subject.silent) work.patience = Math.min(work.patience, silentPatience);
    if (subject.silent)
      subject.note(
        'the workload neither printed anything nor opened a port: its time is until the engine said that it runs',
      );
  }
  // Where it works somewhere, an end with an error elsewhere is the isolation's doing.
  if (subjects.some(({ works, exitCode }) => works && (exitCode ?? 0) === 0))
    for (const subject of subjects) subject.expectSuccess();
  progress.phase(`timing ${options.runs} runs of each`);
  for (let run = 0; run < options.runs; run++)
    for (const subject of subjects) await timeOnce(work, subject, false);
}

async function timeOnce(work: Work, subject: Subject, cold: boolean): Promise<void> {
  const { bench, peer, plan, options, progress } = work;
  progress.step(subject.isolation.title);
  if (!subject.works || (!cold && subject.isEnough(options.runs))) return;
  await subject.attempt(bench, async () => {
    const times = await timedRun(bench, peer, plan, subject.isolation, {
      patience: work.patience,
      stopTimeout,
      health: cold && plan.workload.healthcheck,
      ...subject.known,
    });
    subject.take(times, cold);
  });
}

/** All boxes stand side by side, and each probe goes round: one at a time, so that they do not disturb each other. */
async function probeIsolations(work: Work, subjects: readonly Subject[]): Promise<void> {
  const { bench, peer, plan, options, progress } = work;
  progress.phase('starting a container for the probes in each');
  const boxes: { subject: Subject; box: ProbeBox }[] = [];
  for (const subject of subjects) {
    progress.step(subject.isolation.title);
    if (!subject.exists) continue;
    await subject.attemptProbe(bench, 'starting the probes', async () => {
      const box = await ProbeBox.start(bench, plan, subject.isolation);
      boxes.push({ subject, box });
      subject.box = box;
    });
  }
  for (const { subject, box } of boxes)
    await subject.attemptProbe(bench, 'timing exec', async () => {
      for (let time = 0; time < options.runs + 1; time++) await box.timeExec();
    });
  progress.phase('probing');
  for (let round = 0; round < options.rounds; round++)
    for (const kind of probeKinds) {
      if (kind === 'net' && !options.networkProbe) continue;
      for (const { subject, box } of boxes) {
        progress.step(`${kind} in ${subject.isolation.words}`);
        await subject.attemptProbe(bench, `probing ${kind}`, () =>
          box.run(kind, peer, options.probeMilliseconds),
        );
      }
    }
}

function kindOf(subjects: readonly Subject[]): Report['workload']['kind'] {
  const known = subjects.find((subject) => subject.works && subject.oneShot !== undefined);
  if (!known) return 'unknown';
  return known.oneShot ? 'one-shot' : 'service';
}

interface InfoAnswer {
  Name: string;
  OperatingSystem: string;
  NCPU: number;
  MemTotal: number;
  ServerVersion: string;
}

async function hostOf({ client }: Context): Promise<(facts: HostFacts) => HostPart> {
  const info = await client.get<InfoAnswer>('/info');
  return (facts) => ({
    name: info.Name,
    operatingSystem: info.OperatingSystem,
    kernel: facts.Kernel,
    cpu: facts.Cpu,
    cpus: info.NCPU,
    memory: info.MemTotal,
    engine: info.ServerVersion,
    kvm: { usable: facts.Kvm.Usable, ...(facts.Kvm.Why !== undefined && { why: facts.Kvm.Why }) },
    securityModules: facts.SecurityModules,
    load: facts.Load,
  });
}
