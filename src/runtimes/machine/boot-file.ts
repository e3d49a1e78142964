/** A program that QEMU needs beside it: a socket that it listens at is its descriptor 3. */
export interface Helper {
  name: string;
  /** Id inside. */
  user: number;
  args: string[];
}

export interface BootPlan {
  helpers: Helper[];
  /** Names of links. */
  taps: string[];
  qemu: { user: number; args: string[] };
}

/** Descriptors of QEMU (native/vmm/generation.c). */
export const descriptors = {
  console: 3,
  helper: (index: number) => 4 + index,
  tap: (index: number, helpers: number) => 4 + helpers + index,
} as const;

/** For native/vmm/boot.c: lists, each string ended by NUL, each list by an empty string. */
export function bootFile({ helpers, taps, qemu }: BootPlan): Buffer {
  const lists = [
    ...helpers.map(({ name, user, args }) => ['helper', name, String(user), ...args]),
    ...taps.map((tap) => ['tap', tap]),
    ['qemu', String(qemu.user), ...qemu.args],
  ];
  for (const word of lists.flat())
    if (word === '' || word.includes('\0'))
      throw new RangeError(`no word of a command line: ${JSON.stringify(word)}`);
  return Buffer.from(lists.map((list) => [...list, ''].map((word) => `${word}\0`).join('')).join(''));
}
