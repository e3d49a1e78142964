import { setTimeout as sleep } from 'node:timers/promises';
import { isIsleError, isleError } from '../../lib/errors.ts';
import type { JobOptions, Qmp, QmpEvent } from './qmp.ts';

/** Milliseconds between two looks at how far it is. */
const lookEvery = 250;

/** Milliseconds for a command while disks are busy. */
const patience = 30_000;

/**
 * {@link Qmp.job}. What begins a block job should ask for `auto-dismiss: false`, so that its error is still there to be read; without, the
 * error is the one that BLOCK_JOB_COMPLETED told.
 */
export async function runJob(
  qmp: Qmp,
  id: string,
  begin: () => Promise<unknown>,
  { onProgress, signal }: JobOptions,
): Promise<void> {
  signal?.throwIfAborted();
  const over = new AbortController();
  const events = qmp.events(over.signal);
  const cancel = () => void qmp.execute('job-cancel', { id }).catch(() => {});
  try {
    await begin();
    signal?.addEventListener('abort', cancel, { once: true });
    if (signal?.aborted) cancel();
    if (onProgress) void look(qmp, id, onProgress, over.signal);
    const told = await concluded(events, id);
    over.abort();
    const error = (await dismiss(qmp, id)) ?? told;
    signal?.throwIfAborted();
    if (error !== undefined) throw isleError('guestFailed', { what: `job ${id}`, detail: error });
  } finally {
    over.abort();
    signal?.removeEventListener('abort', cancel);
  }
}

/** What went wrong, as far as the events said. */
async function concluded(events: AsyncIterable<QmpEvent>, id: string): Promise<string | undefined> {
  let error: string | undefined;
  for await (const { event, data } of events) {
    if (event.startsWith('BLOCK_JOB_') && data.device === id && typeof data.error === 'string')
      error = data.error.slice(0, 1000);
    const ended = data.status === 'concluded' || data.status === 'null';
    if (event === 'JOB_STATUS_CHANGE' && data.id === id && ended) return error;
  }
  throw isleError('guestGone', { what: `job ${id}` });
}

interface JobInfo {
  id: string;
  'current-progress': number;
  'total-progress': number;
  error?: string;
}

async function dismiss(qmp: Qmp, id: string): Promise<string | undefined> {
  const job = await find(qmp, id);
  if (!job) return undefined;
  try {
    await qmp.execute('job-dismiss', { id }, { patience });
  } catch (error) {
    // It may dismiss itself between the two.
    if (!isIsleError(error, 'guestFailed')) throw error;
  }
  return job.error === undefined ? undefined : String(job.error).slice(0, 1000);
}

async function find(qmp: Qmp, id: string): Promise<JobInfo | undefined> {
  const jobs = await qmp.execute<JobInfo[]>('query-jobs', undefined, { patience });
  return Array.isArray(jobs) ? jobs.find((job) => job.id === id) : undefined;
}

async function look(
  qmp: Qmp,
  id: string,
  onProgress: (done: number, total: number) => void,
  signal: AbortSignal,
): Promise<void> {
  try {
    for (;;) {
      const job = await find(qmp, id);
      if (signal.aborted) return;
      if (job) onProgress(Number(job['current-progress']), Number(job['total-progress']));
      await sleep(lookEvery, undefined, { signal });
    }
  } catch {
    // The job's end tells what there is to tell.
  }
}
