import type { TarEntry } from '../../lib/tar/entry.ts';
import type { ThreadSender } from '../../lib/thread-streams.ts';
import { padding, storedSize, tarEnd, tarHeader } from '../../lib/tar/writer.ts';
import type { WalkStep } from './walk.ts';

const bufferSize = 1 << 18;

/** Turns walked members into the bytes of a tar and sends them on in large pieces. */
export class TarPacker {
  readonly #sender: ThreadSender;
  #buffer = Buffer.allocUnsafeSlow(bufferSize);
  #used = 0;
  #stored = 0;

  constructor(sender: ThreadSender) {
    this.#sender = sender;
  }

  async step(step: WalkStep): Promise<void> {
    if (step.kind === 'entry') await this.entry(step.entry);
    else if (step.kind === 'data') await this.put(step.chunk);
    else await this.put(padding(this.#stored));
  }

  async entry(entry: TarEntry): Promise<void> {
    await this.put(tarHeader(entry));
    this.#stored = storedSize(entry);
  }

  async end(): Promise<void> {
    await this.put(tarEnd());
    await this.#flush();
    this.#sender.end();
  }

  async put(bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const count = Math.min(bytes.length - at, bufferSize - this.#used);
      bytes.copy(this.#buffer, this.#used, at, at + count);
      this.#used += count;
      at += count;
      if (this.#used === bufferSize) await this.#flush();
    }
  }

  async #flush(): Promise<void> {
    if (this.#used === 0) return;
    const full = this.#buffer;
    const used = this.#used;
    this.#buffer = Buffer.allocUnsafeSlow(bufferSize);
    this.#used = 0;
    await this.#sender.write(used === bufferSize ? full : full.subarray(0, used));
  }
}
