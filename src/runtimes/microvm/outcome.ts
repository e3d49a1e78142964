import { readBounded } from '../confined/bounded-file.ts';
import { lastLines, panicOf, readConsole } from './console.ts';
import type { VmPlace } from './layout.ts';

/** How a VM ended, from what the shim wrote (native/shim/outcome.c). */
export interface Outcome {
  /** The guest told the workload's exit code. */
  told: boolean;
  oomKilled: boolean;
  /** What ended it when the workload did not. */
  reason?: string;
}

const maxOutcome = 16 * 1024;

/** Reads it. Without one, the shim itself was killed. */
export async function readOutcome(place: VmPlace): Promise<Outcome> {
  const text = (await readBounded(place.outcome, maxOutcome))?.toString('latin1');
  if (text === undefined)
    return { told: false, oomKilled: false, reason: 'the monitor of the microVM was killed' };
  const facts = new Map(text.split('\n').map((line) => splitOnce(line)));
  const oomKilled = facts.get('oom') === '1';
  if (facts.has('code')) return { told: true, oomKilled };
  return { told: false, oomKilled, reason: await reasonOf(facts, place) };
}

async function reasonOf(facts: Map<string, string>, place: VmPlace): Promise<string> {
  const broken = facts.get('broken');
  if (broken !== undefined)
    return `the microVM was ended: its guest sent what no sound guest sends (${clean(broken)})`;
  const console = await readConsole(place.console);
  const panic = panicOf(console);
  const last = lastLines(console, 5).join(' | ');
  if (panic !== undefined)
    return `the guest's kernel panicked: ${panic.replace(/^.*not syncing:?\s*/, '')} (last lines of its console: ${last})`;
  const fs = facts.get('virtiofsd');
  const qemu = facts.get('qemu') ?? '';
  // QEMU ends virtiofsd by going; the other way round the shim kills QEMU.
  if (facts.has('killed') && fs !== undefined) return `virtiofsd ${ended(fs)}${words(facts, 'virtiofsd')}`;
  if (qemu === 'exited 0')
    return `the guest ended without its workload's exit code${last === '' ? '' : ` (last lines of its console: ${last})`}`;
  return `QEMU ${ended(qemu)}${words(facts, 'qemu')}`;
}

function ended(how: string): string {
  const match = /^(killed|exited) (\d+)$/.exec(how);
  if (match?.[1] === 'killed') return `was killed by signal ${match[2]}`;
  return match ? `ended with exit code ${match[2]}` : 'ended';
}

function words(facts: Map<string, string>, name: string): string {
  const said = facts.get(`${name}-said`);
  return said === undefined || said === '' ? '' : `: ${clean(said)}`;
}

function clean(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/g, '?').slice(-1000);
}

function splitOnce(line: string): [string, string] {
  const at = line.indexOf(' ');
  return at < 0 ? [line, ''] : [line.slice(0, at), line.slice(at + 1)];
}
