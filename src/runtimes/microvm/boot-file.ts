/** The shim's arguments (native/shim/main.c): two lists, each string ended by NUL, each list by an empty string. */
export function bootFile(virtiofsd: string[], qemu: string[]): Buffer {
  return Buffer.from(
    [virtiofsd, qemu].map((args) => [...args, ''].map((arg) => `${arg}\0`).join('')).join(''),
  );
}
