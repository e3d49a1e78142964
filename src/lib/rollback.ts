/**
 * A stack of undos for an operation with external effects: add one after each effect, `keep()` on success.
 *
 * @example
 * await using undo = new Rollback();
 * await mount(...);
 * undo.add('unmount', () => unmount(...));
 * ...
 * undo.keep();
 *
 * Leaving the block without `keep()` runs the undos, last first; every one runs even when another fails, and
 * failures are thrown together (as a SuppressedError beside the original error).
 */
export class Rollback implements AsyncDisposable {
  #stack = new AsyncDisposableStack();

  add(_what: string, undo: () => unknown): void {
    this.#stack.defer(async () => {
      await undo();
    });
  }

  /** Disarms every undo: the operation succeeded. */
  keep(): void {
    this.#stack.move();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
