import { setTimeout as sleep } from 'node:timers/promises';
import { defineCommand } from '../command.ts';
import type { Context } from '../context.ts';
import { contextName, writeDockerContext } from '../engine/docker-context.ts';
import { answers, startInBackground } from '../engine/background.ts';
import { engineFlags, type EnginePlace, enginePlace } from '../engine/options.ts';
import { daemonPid, hasEnded } from '../engine/process.ts';
import { hasSystemd, installUnit, systemctl } from '../engine/systemd.ts';
import { Failure } from '../failure.ts';
import { boolean, integer, text } from '../flags.ts';
import { withSpinner } from '../terminal/spinner.ts';

export const command = defineCommand({
  usage: '[OPTIONS]',
  about:
    'Where systemd runs, the unit isle.service is started (and installed first, if need be); elsewhere the daemon goes into the background. A Docker context named isle is set up for the docker client.',
  examples: [
    { run: 'up', does: 'start the engine, or say that it runs' },
    { run: 'up --data-root /srv/isle --run-root /run/isle2 --instance two', does: 'a second one beside it' },
  ],
  flags: {
    ...engineFlags,
    config: text('Configuration file of the daemon', { complete: 'file' }),
    'log-level': text('debug, info, warn or error', { complete: ['debug', 'info', 'warn', 'error'] }),
    'no-context': boolean('Leave the docker client alone'),
    quiet: boolean('Say nothing when all is well', { short: 'q' }),
    wait: integer('Seconds to wait until it is ready (60)'),
  },
  args: [0, 0],
  async run(context, { flags }) {
    const place = enginePlace(flags, context.env);
    const more = [
      ...(flags.config === undefined ? [] : ['--config', flags.config]),
      ...(flags['log-level'] === undefined ? [] : ['--log-level', flags['log-level']]),
    ];
    const timeout = (flags.wait ?? 60) * 1000;
    const running = await findRunning(place, timeout);
    let socket = place.socket;
    if (running === undefined) {
      if (process.getuid?.() !== 0) throw new Failure('the engine needs root', { hint: 'sudo isle up' });
      const started = performance.now();
      const start =
        hasSystemd() && place.isDefault && more.length === 0
          ? startUnit(place, timeout)
          : startOrJoin(place, more, timeout);
      socket = await withSpinner(context.err, 'starting the engine', start, 200);
      if (!flags.quiet) say(context, `The engine is up (${Math.round(performance.now() - started)} ms).`);
    } else if (!flags.quiet)
      say(context, `The engine already runs${running > 0 ? ` (pid ${running})` : ''}.`);
    const name = contextName(place.instance);
    if (!flags['no-context']) await writeDockerContext(context.env, name, socket);
    if (!flags.quiet) explainUse(context, place, socket, flags['no-context'] ? undefined : name);
  },
});

/** The pid of an engine that runs there and answers, 0 when only its socket is known, undefined for none. */
async function findRunning(place: EnginePlace, timeout: number): Promise<number | undefined> {
  const pid = (await daemonPid(place.runRoot)) ?? (await daemonPid(place.dataRoot));
  if (await answers(place.socket)) return pid ?? 0;
  if (pid === undefined) return undefined;
  // Someone else has just started it, or it is about to end.
  const deadline = performance.now() + Math.min(timeout, 20_000);
  while (performance.now() < deadline) {
    if (await answers(place.socket)) return pid;
    if (await hasEnded(pid, 100)) return undefined;
  }
  throw new Failure(`an engine runs (pid ${pid}) but does not answer on ${place.socket}`, {
    hint: `see ${place.dataRoot}/daemon.log`,
  });
}

/** Someone else may start it in the same moment: one of the two daemons finds its root taken, and that is fine. */
async function startOrJoin(place: EnginePlace, flags: string[], timeout: number): Promise<string> {
  try {
    return (await startInBackground({ place, flags, timeout })).socket;
  } catch (error) {
    if ((await findRunning(place, timeout).catch(() => undefined)) !== undefined) return place.socket;
    throw error;
  }
}

async function startUnit(place: EnginePlace, timeout: number): Promise<string> {
  await installUnit();
  try {
    await systemctl('start', 'isle.service');
  } catch (cause) {
    throw new Failure('the unit isle.service did not start', {
      hint: 'see: journalctl -u isle.service -n 20',
      cause,
    });
  }
  const deadline = performance.now() + timeout;
  while (!(await answers(place.socket))) {
    if (performance.now() > deadline)
      throw new Failure(`the engine does not answer on ${place.socket}`, {
        hint: 'see: journalctl -u isle.service',
      });
    await sleep(50);
  }
  return place.socket;
}

function explainUse(context: Context, place: EnginePlace, socket: string, name: string | undefined): void {
  const { out } = context;
  const own = socket === '/run/isle/docker.sock' ? '' : `ISLE_SOCKET=${socket} `;
  const rows = [
    ['isle:', `${own}isle run --rm -it IMAGE`],
    ...(name === undefined ? [] : [['docker:', `docker context use ${name}`]]),
    [name === undefined ? 'docker:' : 'or:', `export DOCKER_HOST=unix://${socket}`],
    ['stop it:', `isle down${place.daemonFlags.length > 0 ? ` ${place.daemonFlags.join(' ')}` : ''}`],
  ];
  for (const [label = '', text_ = ''] of rows) out.line(`  ${out.paint.dim(label.padEnd(9))} ${text_}`);
}

function say({ out }: Context, text_: string): void {
  out.line(out.paint.bold(text_));
}
