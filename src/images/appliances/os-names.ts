/** Isle's (osinfo-db's) word for the guest's system, from the words of other hypervisors: `debian12_64Guest`, `Ubuntu (64-bit)`, … */
export function osVariantOf(text: string): string | undefined {
  const plain = text
    .slice(0, 256)
    .toLowerCase()
    .replace(/[_-]?64(-?bit|guest)?|guest|\(.*?\)|gnu\/|linux/g, ' ');
  for (const [pattern, word] of patterns) {
    const match = pattern.exec(plain);
    if (match) return word.replace('*', (match[1] ?? '').replace(/^0+/, ''));
  }
  return undefined;
}

/** Those without a number are last: the first that fits counts. */
const patterns: [RegExp, string][] = [
  [/debian\D{0,3}(\d{1,2})\b/, 'debian*'],
  [/ubuntu\D{0,3}(\d{2}\.\d{2})/, 'ubuntu*'],
  [/(?:rhel|red\s?hat enterprise)\D{0,3}(\d{1,2})\b/, 'rhel*-unknown'],
  [/centos\D{0,3}(\d{1,2})\b/, 'centos*'],
  [/alma\D{0,3}(\d{1,2})\b/, 'almalinux*'],
  [/rocky\D{0,3}(\d{1,2})\b/, 'rocky*'],
  [/fedora\D{0,3}(\d{2})\b/, 'fedora*'],
  [/win(?:dows)?\s?(?:srv|server\s?)?20(\d\d)/, 'win2k*'],
  [/windows\s?11|win11|windows11/, 'win11'],
  [/windows\s?10|win10|windows9\b/, 'win10'],
  [/windows\s?7|win7/, 'win7'],
  [/freebsd\D{0,3}(\d{2})\b/, 'freebsd*.0'],
  [/alpine/, 'alpinelinux3.18'],
];
