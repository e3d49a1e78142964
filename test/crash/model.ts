/** What the daemon has acknowledged, and what was under way when it died. */
export interface ExpectedContainer {
  phase: 'created' | 'running' | 'paused' | 'exited';
  exitCode?: number;
}

export class Model {
  readonly containers = new Map<string, ExpectedContainer>();
  readonly volumes = new Set<string>();
  readonly networks = new Set<string>();
  readonly images = new Set<string>();
  /** Names of things that an unanswered call may have changed: both its outcomes are right. */
  readonly doubtful = new Set<string>();

  /** `things` are in doubt until `call` has been answered; then `then` says what is known. */
  async during(things: string[], call: () => Promise<unknown>, then: () => void): Promise<void> {
    for (const thing of things) this.doubtful.add(thing);
    await call();
    then();
    for (const thing of things) this.doubtful.delete(thing);
  }
}
