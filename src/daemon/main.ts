import { mkdir } from 'node:fs/promises';
import { isIsleError, messageOf } from '../lib/errors.ts';
import { createLog, type Logger } from '../lib/log.ts';
import { type DaemonConfig, loadConfig } from './config.ts';
import { lockRoot } from './lock.ts';
import { notify } from './notify.ts';

/** Exit codes: 0 asked to end, 1 a failure that a restart may heal, 2 a wrong call (a restart would not help). */
const exitFailure = 1;
const exitUsage = 2;

/**
 * `isle daemon`: serves until SIGTERM or SIGINT. What runs goes on after it. Ready (the socket answers, systemd is
 * told) only when everything has been reconciled.
 */
export async function main(argv: string[]): Promise<void> {
  const started = performance.now();
  // Some calls on libuv's pool wait for long (a sync of the disk, a name's lookup, a busy unmount): its usual four
  // threads are soon all taken, and then nothing reads or writes a file. Read once, at the pool's first use.
  process.env.UV_THREADPOOL_SIZE ??= '12';
  const config = await configOrExit(argv);
  const log = createLog({ level: config.logLevel });
  dieOnUnhandled(log);
  // Until the socket is there nothing else holds the process while recovery waits for the end of what it killed.
  const alive = setInterval(() => {}, 60_000);
  try {
    const parts = await start(config, log);
    clearInterval(alive);
    log.info(
      {
        pid: process.pid,
        socket: config.dockerSocket,
        milliseconds: Math.round(performance.now() - started),
      },
      'ready',
    );
    await notify('READY=1', log);
    onEnd(parts, log);
  } catch (error) {
    // What a user can mend is a sentence; only what we did not foresee comes with its stack.
    log.error(
      isIsleError(error) ? { cause: error.cause } : { err: error },
      `cannot start: ${messageOf(error)}`,
    );
    process.exit(isIsleError(error, 'dataRootInUse', 'newerDatabase') ? exitUsage : exitFailure);
  }
}

async function configOrExit(argv: string[]): Promise<DaemonConfig> {
  try {
    return await loadConfig(argv);
  } catch (error) {
    process.stderr.write(`isle daemon: ${messageOf(error)}\n`);
    process.exit(exitUsage);
  }
}

async function start(config: DaemonConfig, log: Logger): Promise<{ close(): Promise<void> }> {
  // Nobody but root may look into writable layers and bundles: a setuid file in an image is not the host's (CVE-2025-64507).
  await Promise.all([
    mkdir(config.dataRoot, { recursive: true, mode: 0o700 }),
    mkdir(config.runRoot, { recursive: true, mode: 0o711 }),
  ]);
  const locks = [lockRoot(config.dataRoot)];
  if (config.runRoot !== config.dataRoot) locks.push(lockRoot(config.runRoot));
  const { createParts } = await import('./parts.ts');
  const parts = await createParts(config, log);
  return {
    async close() {
      await parts.close();
      for (const lock of locks) lock.release();
    },
  };
}

/** A bug must not leave half a daemon behind: systemd (or `isle up`) starts a whole one, and workloads go on meanwhile. */
function dieOnUnhandled(log: Logger): void {
  const die = (what: string) => (error: unknown) => {
    log.error({ err: error }, `${what}: ${messageOf(error)}`);
    process.exit(exitFailure);
  };
  process.on('uncaughtException', die('uncaught exception'));
  process.on('unhandledRejection', die('unhandled rejection'));
}

/** Milliseconds that running operations get to end. */
const patience = 20_000;

function onEnd(parts: { close(): Promise<void> }, log: Logger): void {
  let ending = false;
  const end = (signal: NodeJS.Signals) => {
    if (ending) process.exit(exitFailure); // asked twice: now
    ending = true;
    log.info({ signal }, 'stopping; containers go on');
    setTimeout(() => process.exit(exitFailure), patience).unref();
    notify('STOPPING=1', log)
      .then(() => parts.close())
      .then(
        () => process.exit(0),
        (error: unknown) => {
          log.error({ err: error }, `stopping: ${messageOf(error)}`);
          process.exit(exitFailure);
        },
      );
  };
  process.on('SIGTERM', end);
  process.on('SIGINT', end);
  process.on('SIGHUP', () => {}); // the terminal that started it went away
}

await main(process.argv.slice(2));
