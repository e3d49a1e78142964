import { createHash, randomBytes } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { isleError } from '../../lib/errors.ts';
import type { EngineContext } from '../context.ts';
import { controlAny } from './record.ts';

/** Milliseconds in which a ticket has to be used. */
const lifetime = 30_000;
/** Tickets that nobody used; the oldest go first. */
const most = 256;

interface Ticket {
  id: string;
  /** Of the monotonic clock. */
  until: number;
}

/**
 * Machines' screens: pictures of them, and connections to them. Who shows a screen to a browser or a viewer asks for a
 * ticket, which lets in once and soon, so that what is passed on to the viewer is worth nothing afterwards.
 */
export class Screens {
  readonly #ctx: EngineContext;
  /** By their hashes: a look-up tells nothing of a ticket by the time that it takes. */
  readonly #tickets = new Map<string, Ticket>();

  constructor(ctx: EngineContext) {
    this.#ctx = ctx;
  }

  screenshot(reference: string): Promise<Buffer> {
    const { record, control } = controlAny(this.#ctx, reference);
    return control.screenshot(record.id);
  }

  /** Throws `notRunning`, `conflict` for one without a screen. */
  ticket(reference: string): { ticket: string; expiresAt: string } {
    const { record } = controlAny(this.#ctx, reference);
    if (!record.spec.machine.graphics)
      throw isleError('conflict', {
        message: `the machine "${record.name}" has no screen: see its console (isle vm console ${record.name})`,
      });
    this.#drop();
    const ticket = randomBytes(32).toString('base64url');
    this.#tickets.set(hashOf(ticket), { id: record.id, until: performance.now() + lifetime });
    return { ticket, expiresAt: new Date(Date.now() + lifetime).toISOString() };
  }

  /** Throws `forbidden` for a ticket that is unknown, used or old. */
  async open(ticket: string): Promise<Duplex> {
    const hash = hashOf(ticket);
    const found = this.#tickets.get(hash);
    // Whatever comes of it, it was used.
    this.#tickets.delete(hash);
    if (!found || found.until < performance.now())
      throw isleError('forbidden', {
        message: 'this ticket lets nobody in: it was used, is too old, or never was one; ask for another',
      });
    const { record, control } = controlAny(this.#ctx, found.id);
    return await control.display(record.id);
  }

  #drop(): void {
    const now = performance.now();
    for (const [hash, { until }] of this.#tickets) {
      // They are in the order of their ends.
      if (until >= now && this.#tickets.size < most) return;
      this.#tickets.delete(hash);
    }
  }
}

function hashOf(ticket: string): string {
  return createHash('sha256').update(ticket).digest('base64');
}
