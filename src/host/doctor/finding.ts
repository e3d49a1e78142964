/** ok; warn: Isle runs, but something will be refused, slow or unsafe; fail: Isle cannot run containers. */
export type Status = 'ok' | 'warn' | 'fail';

/** What one check saw. */
export interface Finding {
  /** Short and stable: scripts read it. */
  name: string;
  status: Status;
  /** The value that was found, in a few words. */
  found: string;
  /** What it means for containers here. */
  why: string;
  /** What to do; absent when all is well. */
  advice?: string;
  /** Puts it right for the running system, where that harms nothing else. Throws when it cannot. */
  fix?: Fix;
}

export interface Fix {
  /** What it will do, as a command a person could type. */
  does: string;
  run(): Promise<void>;
}

export interface DoctorOptions {
  dataRoot: string;
  runRoot: string;
  instance: string;
}

export type Check = (options: DoctorOptions) => Promise<Finding>;
