import { detectKvm, type Kvm } from '../kvm.ts';
import type { Finding } from './finding.ts';

export async function checkKvm(): Promise<Finding> {
  return judgeKvm(await detectKvm());
}

/** Containers need no KVM: without it only VMs are slow. */
export function judgeKvm(kvm: Kvm): Finding {
  const why = 'VMs without it are emulated, some ten times slower; containers do not need it';
  if (kvm.usable) return { name: 'kvm', status: 'ok', found: `usable (${kvm.module})`, why };
  return {
    name: 'kvm',
    status: 'warn',
    found: kvm.why,
    why,
    advice: 'nothing for containers; for VMs use a host with (nested) virtualisation turned on',
  };
}
