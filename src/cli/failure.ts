/** What ends a command: one line for stderr and the exit code. Never shown with a stack. */
export class Failure extends Error {
  readonly exitCode: number;
  /** What to do next, on its own line. */
  readonly hint: string | undefined;

  constructor(message: string, options: { exitCode?: number; hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'Failure';
    this.exitCode = options.exitCode ?? 1;
    this.hint = options.hint;
  }
}

/** A wrong call: the same exit code as Docker's for flags it does not know. */
export function usageError(message: string, hint?: string): Failure {
  return new Failure(message, { exitCode: 125, ...(hint === undefined ? {} : { hint }) });
}

/** A template that cannot be rendered: Docker's exit code for it is 1, where that of a wrong flag is 125. */
export function templateError(message: string, hint?: string): Failure {
  return new Failure(message, hint === undefined ? {} : { hint });
}
