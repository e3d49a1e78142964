import { isleError, messageOf } from '../lib/errors.ts';
import type { Logger } from '../lib/log.ts';
import { didYouMean } from '../lib/suggest.ts';
import type { Runtime } from './runtime.ts';

/** An isolation that may be asked for by name: how to make it, when this host has what it needs. */
export interface RuntimeOffer {
  /** Its program, for `docker info`. */
  path: string;
  /** Throws `unavailable` with what is missing and what to install; is asked again later. */
  open(): Promise<Runtime>;
  /** Further facts for `docker info`, such as the accelerator. */
  status?(): Promise<Record<string, string>>;
  /** A host without it lacks nothing: no warning. */
  optional?: boolean;
  /** Where it cannot be opened: who takes away what is left of its workloads. Undefined: nothing is, or the default runtime can. */
  caretaker?(): Promise<Runtime | undefined>;
}

/** The isolations of this engine by name. One that cannot be had now says why, and is tried again when it is asked for. */
export class Runtimes {
  readonly default: string;
  #offers: Record<string, RuntimeOffer>;
  #open = new Map<string, Runtime>();
  #reasons = new Map<string, string>();
  #caretakers = new Map<string, Runtime>();
  #preparing = new Map<string, Promise<void>>();
  #log: Logger;

  private constructor(offers: Record<string, RuntimeOffer>, defaultName: string, log: Logger) {
    this.#offers = offers;
    this.default = defaultName;
    this.#log = log;
  }

  /** Opens what can be had. Throws when the default one cannot. */
  static async open(
    offers: Record<string, RuntimeOffer>,
    defaultName: string,
    log: Logger,
  ): Promise<Runtimes> {
    const runtimes = new Runtimes(offers, defaultName, log);
    await Promise.all([
      runtimes.require(defaultName),
      ...Object.keys(offers).map((name) => runtimes.prepare(name)),
    ]);
    return runtimes;
  }

  get names(): string[] {
    return Object.keys(this.#offers);
  }

  /** Those that work here, and those that can still clear away, each once: two names may stand for one. */
  get all(): Runtime[] {
    return [...new Set([...this.#open.values(), ...this.#caretakers.values()])];
  }

  /** Who can remove what `name` left on this host. */
  caretaker(name: string): Runtime {
    return this.#open.get(name) ?? this.#caretakers.get(name) ?? this.of(this.default);
  }

  get(name: string): Runtime | undefined {
    return this.#open.get(name);
  }

  /** Why `name` cannot be had; undefined when it can. */
  why(name: string): string | undefined {
    if (this.#open.has(name)) return undefined;
    if (!Object.hasOwn(this.#offers, name)) return `no runtime of that name is configured`;
    return this.#reasons.get(name) ?? 'it has not been made yet';
  }

  offer(name: string): RuntimeOffer | undefined {
    return Object.hasOwn(this.#offers, name) ? this.#offers[name] : undefined;
  }

  /** Throws `unavailable` with the reason. */
  of(name: string): Runtime {
    const runtime = this.#open.get(name);
    if (runtime) return runtime;
    throw isleError('unavailable', { message: `the runtime ${name} is not available: ${this.why(name)}` });
  }

  /** Like {@link of}, after another try to make it. */
  async require(name: string): Promise<Runtime> {
    if (!Object.hasOwn(this.#offers, name))
      throw isleError('invalidParameter', {
        message: `unknown or invalid runtime name: ${name}${didYouMean(name, this.names)} (there are: ${this.names.join(', ')})`,
      });
    await this.prepare(name);
    return this.of(name);
  }

  /** Tries to make it, once for all who ask meanwhile. A failure is kept as its reason. */
  async prepare(name: string): Promise<void> {
    const offer = this.offer(name);
    if (!offer || this.#open.has(name)) return;
    const going = this.#preparing.get(name);
    if (going) return await going;
    const preparing = this.#make(name, offer).finally(() => this.#preparing.delete(name));
    this.#preparing.set(name, preparing);
    await preparing;
  }

  async #make(name: string, offer: RuntimeOffer): Promise<void> {
    try {
      this.#open.set(name, await offer.open());
      this.#reasons.delete(name);
      const caretaker = this.#caretakers.get(name);
      this.#caretakers.delete(name);
      await caretaker?.close?.();
    } catch (error) {
      this.#reasons.set(name, messageOf(error));
      this.#log.debug({ runtime: name, err: error }, `runtime not available: ${messageOf(error)}`);
      await this.#findCaretaker(name, offer);
    }
  }

  async #findCaretaker(name: string, offer: RuntimeOffer): Promise<void> {
    if (!offer.caretaker || this.#caretakers.has(name)) return;
    try {
      const caretaker = await offer.caretaker();
      if (caretaker) this.#caretakers.set(name, caretaker);
    } catch (error) {
      this.#log.warn({ runtime: name, err: error }, `what it left cannot be removed: ${messageOf(error)}`);
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.all.map(async (runtime) => await runtime.close?.()));
  }
}
