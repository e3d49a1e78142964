import { Failure } from '../failure.ts';

/** What people call the formats of machines and disks, and the API's word. */
const words: Readonly<Record<string, string>> = {
  vhd: 'vpc',
  hdd: 'parallels',
  hds: 'parallels',
  img: 'raw',
  'hyper-v': 'vmcx',
  hyperv: 'vmcx',
  virtualbox: 'vbox',
  vmware: 'vmx',
  xen: 'xl',
  xenserver: 'xva',
  pvm: 'pvs',
  'xl.cfg': 'xl',
};

export const importFormats = [
  ...['ova', 'ovf', 'vmx', 'vbox', 'vmcx', 'xva', 'xl', 'pvs', 'libvirt'],
  ...['qcow2', 'raw', 'vmdk', 'vdi', 'vhdx', 'vhd', 'parallels'],
];
export const exportFormats = ['ova', 'vmdk', 'vdi', 'vhdx', 'vhd', 'raw', 'qcow2', 'parallels'];

/** Throws for what is none of `known`. */
export function formatWord(text: string, known: readonly string[]): string {
  const lower = text.toLowerCase();
  const word = words[lower] ?? lower;
  if (!known.some((each) => (words[each] ?? each) === word))
    throw new Failure(`"${text}" is no format that is known here: it is one of ${known.join(', ')}`);
  return word;
}
