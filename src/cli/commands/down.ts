import { existsSync } from 'node:fs';
import { errnoOf } from '../../lib/errors.ts';
import type { ContainerSummary } from '../client/types.ts';
import { Client } from '../client/client.ts';
import { defineCommand } from '../command.ts';
import type { Context } from '../context.ts';
import { contextName, removeDockerContext } from '../engine/docker-context.ts';
import { engineFlags, type EnginePlace, enginePlace } from '../engine/options.ts';
import { daemonPid, hasEnded } from '../engine/process.ts';
import { makeRoom, purgeHost, removeEverything } from '../engine/purge.ts';
import { hasSystemd, systemctl, unitIsActive } from '../engine/systemd.ts';
import { answers } from '../engine/background.ts';
import { Failure } from '../failure.ts';
import { boolean } from '../flags.ts';
import { confirm } from '../terminal/prompt.ts';
import { withSpinner } from '../terminal/spinner.ts';
import { plural } from '../words.ts';

export const command = defineCommand({
  usage: '[OPTIONS]',
  about: 'What runs in containers goes on without the engine, unless it is told to stop, too.',
  examples: [
    { run: 'down', does: 'stop the engine; containers run on' },
    { run: 'down --stop-workloads', does: 'stop the containers first' },
    { run: 'down --purge', does: 'remove everything Isle has on this host' },
  ],
  flags: {
    ...engineFlags,
    force: boolean('Do not ask', { short: 'f' }),
    purge: boolean('Remove all containers, images, volumes and networks, and the data root'),
    'stop-workloads': boolean('Stop all containers first'),
  },
  args: [0, 0],
  async run(context, { flags }) {
    const { err, out } = context;
    const place = enginePlace(flags, context.env);
    const client = new Client({ socketPath: place.socket });
    const pid = (await daemonPid(place.runRoot)) ?? (await daemonPid(place.dataRoot));
    const responds = await answers(place.socket);
    if (flags.purge) {
      const question = `${err.paint.yellow('WARNING!')} This will remove all containers, images, volumes and networks of "${place.instance}", and ${place.dataRoot}.\nAre you sure you want to continue?`;
      if (pid === undefined && !existsSync(place.dataRoot) && !existsSync(place.runRoot)) {
        out.line('There is nothing to remove.');
        return 0;
      }
      if (!flags.force && !(await confirm(err, question))) return 1;
      if (!responds)
        throw new Failure('the engine must run to take everything away cleanly', {
          hint: 'start it: isle up',
        });
      await makeRoom(place);
      await withSpinner(err, 'removing everything', removeEverything(client));
    }
    const left = responds ? await workloads(client) : [];
    if (flags['stop-workloads'] && left.length > 0) {
      const stopped = client.status('POST', '/isle/v1/stop-workloads');
      await withSpinner(err, `stopping ${plural(left.length, 'container')}`, stopped);
    }
    if (pid === undefined) out.line('The engine does not run.');
    else {
      await withSpinner(err, 'stopping the engine', stopDaemon(place, pid));
      out.line(out.paint.bold('The engine is down.'));
    }
    if (flags.purge) await purge(context, place);
    else if (left.length > 0 && !flags['stop-workloads'])
      out.line(`${plural(left.length, 'container')} run${left.length === 1 ? 's' : ''} on: ${namesOf(left)}`);
    return 0;
  },
});

function workloads(client: Client): Promise<ContainerSummary[]> {
  return client.get<ContainerSummary[]>('/containers/json');
}

function namesOf(containers: readonly ContainerSummary[]): string {
  const names = containers.map((one) => one.Names[0]?.slice(1) ?? one.Id.slice(0, 12));
  return names.length > 8 ? `${names.slice(0, 8).join(', ')}, …` : names.join(', ');
}

async function stopDaemon(place: EnginePlace, pid: number): Promise<void> {
  if (hasSystemd() && place.isDefault && (await unitIsActive())) {
    await systemctl('stop', 'isle.service');
    return;
  }
  try {
    process.kill(pid, 'SIGTERM');
  } catch (cause) {
    if (errnoOf(cause) === 'ESRCH') return;
    throw new Failure(`cannot stop the engine (pid ${pid})`, {
      hint: 'it belongs to root: sudo isle down',
      cause,
    });
  }
  if (await hasEnded(pid, 30_000)) return;
  throw new Failure(`the engine (pid ${pid}) does not end`, { hint: `see ${place.dataRoot}/daemon.log` });
}

async function purge({ env, out, err }: Context, place: EnginePlace): Promise<void> {
  await withSpinner(err, `removing ${place.dataRoot}`, purgeHost(place));
  await removeDockerContext(env, contextName(place.instance));
  out.line('Everything is removed.');
}
