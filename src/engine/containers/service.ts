import type { Readable } from 'node:stream';
import type { Attachment } from '../../network/network.ts';
import type { EngineContext } from '../context.ts';
import type {
  CommitOptions,
  Containers,
  ContainerStats,
  Footprint,
  LogEntry,
  LogOptions,
  PathStat,
  Autostart,
} from '../engine.ts';
import type { Container, ContainerSpec, Resources, RestartPolicy } from '../model.ts';
import type { Streams, TerminalSize } from '../runtime.ts';
import { isMachine } from '../machines/record.ts';
import { machineSize } from '../machines/usage.ts';
import { setAutostart, stopAll, wantsAutostart } from './autostart.ts';
import { attachContainer } from './attach.ts';
import { commitContainer } from './commit.ts';
import { type Change, changesOf } from './changes.ts';
import { createContainer } from './create.ts';
import { publishContainer } from './events.ts';
import { containerFootprint } from './footprint.ts';
import { exportContainer, readArchive, statPath, writeArchive } from './files.ts';
import { readLogs } from './logs.ts';
import { pauseContainer, unpauseContainer } from './pause.ts';
import { pruneContainers } from './prune.ts';
import { isRunning } from './records.ts';
import { removeContainer } from './remove.ts';
import { renameContainer } from './rename.ts';
import { startContainer } from './start.ts';
import { containerStats } from './stats.ts';
import { killContainer, restartContainer, type StopOptions, stopContainer } from './stop.ts';
import { topContainer } from './top.ts';
import { updateContainer } from './update.ts';
import type { WaitCondition, WaitResult } from './waiters.ts';

/** The Containers face: each call is a file of its own beside this one. */
export class ContainerService implements Containers {
  #ctx: EngineContext;

  constructor(ctx: EngineContext) {
    this.#ctx = ctx;
  }

  create(name: string | undefined, spec: ContainerSpec): Promise<{ id: string; warnings: string[] }> {
    return createContainer(this.#ctx, name, spec);
  }

  get(id: string): Container {
    return this.#ctx.records.find(id);
  }

  list(): Container[] {
    return this.#ctx.records.all();
  }

  attachment(reference: string): Attachment | undefined {
    const record = this.#ctx.records.find(reference);
    return isRunning(record.state) ? this.#ctx.network.attachment(record.podId) : undefined;
  }

  start(id: string): Promise<boolean> {
    return startContainer(this.#ctx, id);
  }

  stop(id: string, options: StopOptions): Promise<boolean> {
    return stopContainer(this.#ctx, id, options);
  }

  restart(id: string, options: StopOptions): Promise<void> {
    return restartContainer(this.#ctx, id, options);
  }

  kill(id: string, signal: string | undefined): Promise<void> {
    return killContainer(this.#ctx, id, signal);
  }

  pause(id: string): Promise<void> {
    return pauseContainer(this.#ctx, id);
  }

  unpause(id: string): Promise<void> {
    return unpauseContainer(this.#ctx, id);
  }

  rename(id: string, name: string): Promise<void> {
    return renameContainer(this.#ctx, id, name);
  }

  update(
    id: string,
    change: { resources: Resources; restartPolicy?: RestartPolicy },
  ): Promise<{ warnings: string[] }> {
    return updateContainer(this.#ctx, id, change);
  }

  startsWithEngine(id: string): boolean {
    const { labels, restartPolicy } = this.#ctx.records.find(id).spec;
    return wantsAutostart(labels, restartPolicy);
  }

  setAutostart(id: string, autostart: Partial<Autostart> | undefined): Promise<void> {
    return setAutostart(this.#ctx, id, autostart);
  }

  stopAll(): Promise<void> {
    return stopAll(this.#ctx);
  }

  remove(id: string, options: { force: boolean; volumes: boolean }): Promise<void> {
    return removeContainer(this.#ctx, id, options);
  }

  wait(reference: string, condition: WaitCondition, signal: AbortSignal): { exit: Promise<WaitResult> } {
    const { id, state } = this.#ctx.records.find(reference);
    const up = isRunning(state) || state.phase === 'restarting';
    if (condition === 'not-running' && !up) return { exit: Promise.resolve({ code: state.exitCode }) };
    return { exit: this.#ctx.waiters.add(id, condition, signal) };
  }

  prune(filters: Record<string, string[]>): Promise<{ removed: string[]; reclaimed: number }> {
    return pruneContainers(this.#ctx, filters);
  }

  attach(id: string): Promise<Streams> {
    return attachContainer(this.#ctx, id);
  }

  async resize(reference: string, size: TerminalSize): Promise<void> {
    const record = this.#ctx.records.find(reference);
    if (!isRunning(record.state)) {
      this.#ctx.sizes.set(record.id, size); // kept for the start that follows
      return;
    }
    await this.#ctx.runtimeOf(record).resize(record.id, size);
    publishContainer(this.#ctx, record, 'resize', { height: String(size.rows), width: String(size.columns) });
  }

  logs(id: string, options: LogOptions, signal: AbortSignal): AsyncIterable<LogEntry> {
    return readLogs(this.#ctx, id, options, signal);
  }

  top(id: string, psArgs: string): Promise<{ titles: string[]; processes: string[][] }> {
    return topContainer(this.#ctx, id, psArgs);
  }

  stats(id: string): Promise<ContainerStats | undefined> {
    return containerStats(this.#ctx, id);
  }

  footprint(id: string): Promise<Footprint> {
    return containerFootprint(this.#ctx, id);
  }

  changes(reference: string): Promise<Change[]> {
    return changesOf(this.#ctx, reference);
  }

  async size(reference: string): Promise<{ rw: number; root: number; saved: number }> {
    const record = this.#ctx.records.find(reference);
    if (isMachine(record)) return await machineSize(this.#ctx, record);
    const { id, imageId } = record;
    const { bytes } = await this.#ctx.snapshots.usage(id);
    const saved = this.#ctx.snapshots.saved(id).reduce((sum, one) => sum + one.bytes, 0);
    return { rw: bytes, root: bytes + this.#imageSize(imageId), saved };
  }

  statPath(id: string, path: string): Promise<PathStat> {
    return statPath(this.#ctx, id, path);
  }

  readArchive(id: string, path: string): Promise<{ stat: PathStat; tar: Readable }> {
    return readArchive(this.#ctx, id, path);
  }

  writeArchive(
    id: string,
    path: string,
    tar: Readable,
    options: { noOverwriteDirNonDir: boolean; copyUidGid: boolean },
  ): Promise<void> {
    return writeArchive(this.#ctx, id, path, tar, options);
  }

  export(id: string): Promise<Readable> {
    return exportContainer(this.#ctx, id);
  }

  commit(id: string, options: CommitOptions): Promise<{ imageId: string }> {
    return commitContainer(this.#ctx, id, options);
  }

  /** 0 when the image was removed by force. */
  #imageSize(imageId: string): number {
    try {
      return this.#ctx.images.get(imageId).size;
    } catch {
      return 0;
    }
  }
}
