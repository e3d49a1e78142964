import { freemem, totalmem } from 'node:os';
import type { EngineContext } from '../context.ts';
import type { MachineSpec } from '../machine.ts';
import { machineRuntime } from './record.ts';

const gibibyte = 1024 ** 3;

/** What is done, and people should know before they wonder. */
export async function warningsFor(
  ctx: Pick<EngineContext, 'runtimes'>,
  {
    arch,
    accelerator,
    memory,
    unikernel,
  }: Pick<MachineSpec, 'arch' | 'accelerator' | 'memory' | 'unikernel'>,
): Promise<string[]> {
  const warnings: string[] = [];
  const own = process.arch === 'arm64' ? 'aarch64' : 'x86_64';
  if (arch !== own) warnings.push(`its ${arch} processors are emulated on this ${own} host, which is slow`);
  else if (accelerator === undefined && !unikernel) {
    const status = await ctx.runtimes.offer(machineRuntime)?.status?.();
    const used = status?.accelerator;
    if (used !== undefined && used !== 'KVM') warnings.push(`KVM cannot be used: it runs on ${used}`);
  }
  if (memory > totalmem())
    warnings.push(
      `it has ${inGiB(memory)} GiB of memory and this host ${inGiB(totalmem())}: it may be killed when it uses them`,
    );
  else if (memory > freemem() + gibibyte && memory > totalmem() / 2)
    warnings.push(
      `it has ${inGiB(memory)} GiB of memory, more than half of this host's ${inGiB(totalmem())}`,
    );
  return warnings;
}

function inGiB(bytes: number): string {
  return (bytes / gibibyte).toFixed(1);
}
