import { constants } from 'node:os';
import { getSystemErrorName } from 'node:util';

export type SystemError = Error & { code: string; errno: number; syscall: string };

/** An error as Node's own system calls throw it. `errno` is a positive number or its name. */
export function systemError(errno: number | keyof typeof constants.errno, syscall: string): SystemError {
  const number = typeof errno === 'number' ? errno : constants.errno[errno];
  const code = getSystemErrorName(-number);
  return Object.assign(new Error(`${code}: ${syscall}`), { code, errno: -number, syscall });
}
