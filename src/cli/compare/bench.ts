import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import type { Client } from '../client/client.ts';
import { ApiError } from '../client/errors.ts';
import type { ContainerSummary } from '../client/types.ts';
import { Failure } from '../failure.ts';
import { padding, tarEnd, tarHeader } from '../../lib/tar/writer.ts';
import { readAll } from '../client/lines.ts';
import { roleLabel, runLabel } from './labels.ts';
import { removeVolumes } from './volumes.ts';

export type Body = Record<string, unknown> & { HostConfig: Record<string, unknown> };

/** Where the probe lies in every container that it is put into. */
export const probePath = '/.isle-probe';

/**
 * The containers of one comparison: each carries its label, and all go when it ends, however it ends. What was asked of
 * the engine is waited for, so that no answer is lost and nothing appears after the cleaning up.
 */
export class Bench {
  readonly client: Client;
  readonly signal: AbortSignal;
  readonly id = randomBytes(4).toString('hex');
  readonly #aborted: Promise<never>;
  #count = 0;
  #probe: Promise<Buffer> | undefined;

  constructor(client: Client, signal: AbortSignal) {
    this.client = client;
    this.signal = signal;
    this.#aborted = new Promise((_resolve, reject) => {
      signal.addEventListener('abort', () => reject(interrupted()), { once: true });
    });
    this.#aborted.catch(() => {});
  }

  /** What `work` resolves to, unless the user gives up before. */
  async unlessAborted<T>(work: Promise<T>): Promise<T> {
    if (this.signal.aborted) throw interrupted();
    work.catch(() => {});
    return await Promise.race([work, this.#aborted]);
  }

  /** Creates a container for `role`; not started. */
  async create(role: string, body: Body): Promise<string> {
    if (this.signal.aborted) throw interrupted();
    const labels = { ...(body.Labels as Record<string, string> | undefined) };
    try {
      const { Id } = await this.client.post<{ Id: string }>('/containers/create', {
        query: { name: `compare-${this.id}-${role}-${this.#count++}` },
        body: { ...body, Labels: { ...labels, [runLabel]: this.id, [roleLabel]: role } },
      });
      return Id;
    } catch (error) {
      if (error instanceof ApiError) throw new NotCreated(error);
      throw error;
    }
  }

  async start(id: string): Promise<void> {
    await this.unlessAborted(this.client.post(`/containers/${id}/start`));
  }

  async remove(id: string): Promise<void> {
    await this.client.delete(`/containers/${id}`, { force: true, v: true });
  }

  /** Puts the probe into a container that needs not run. */
  async putProbe(id: string): Promise<void> {
    const archive = await (this.#probe ??= this.#probeArchive());
    await this.client.json('PUT', `/containers/${id}/archive`, {
      query: { path: '/' },
      body: Readable.from([archive]),
    });
  }

  /** Removes everything of this comparison, and says so where that fails. */
  async removeAll(): Promise<void> {
    const rows = await this.client.get<ContainerSummary[]>('/containers/json', {
      all: true,
      filters: JSON.stringify({ label: [`${runLabel}=${this.id}`] }),
    });
    const left = await Promise.allSettled(rows.map(({ Id }) => this.remove(Id)));
    await removeVolumes(this.client, this.id);
    const failed = left.find((one) => one.status === 'rejected');
    if (failed)
      throw new Failure(`cannot remove a container of the comparison: ${String(failed.reason)}`, {
        hint: 'try: isle system prune',
        cause: failed.reason,
      });
  }

  async #probeArchive(): Promise<Buffer> {
    const program = await readAll(await this.client.body('GET', '/isle/v1/probe'));
    const header = tarHeader({
      name: probePath.slice(1),
      type: 'file',
      size: program.length,
      linkName: '',
      mode: 0o755,
      uid: 0,
      gid: 0,
      userName: '',
      groupName: '',
      mtime: { seconds: 0, nanoseconds: 0 },
      devMajor: 0,
      devMinor: 0,
      xattrs: new Map(),
    });
    return Buffer.concat([header, program, padding(program.length), tarEnd()]);
  }
}

/** The engine refused to make a container: with its reason. */
export class NotCreated extends Failure {
  constructor(cause: ApiError) {
    super(cause.message, { exitCode: 125, cause });
  }
}

export function interrupted(): Failure {
  return new Failure('interrupted; everything that the comparison made is removed', { exitCode: 130 });
}
