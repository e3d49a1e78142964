import { existsSync } from 'node:fs';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isleError, isIsleError } from '../../../lib/errors.ts';
import { failpoint } from '../../../lib/failpoint.ts';
import type { LiveMachine } from '../live-machine.ts';
import { openAgent, withAgent, type Agent } from './agent.ts';

type FrozenMachine = Pick<LiveMachine, 'id' | 'agentSocket' | 'hardware'>;

/** Milliseconds: a guest that cannot write for longer loses more than it gains. */
const longest = 20_000;
/** To freeze is to write everything out first. */
const patience = 30_000;

/**
 * Freezes the guest's file systems, everything written out, until disposed of: what is copied of its disks meanwhile is whole.
 * They are thawed after 20 seconds whatever happens (then disposing throws `guestFailed`: what was copied may not be whole), and
 * by {@link thawForgotten} when this process dies. Throws `guestAgentMissing`, `guestUnresponsive`, and `guestFailed` when the guest
 * can freeze none.
 */
export async function freeze(machine: FrozenMachine): Promise<AsyncDisposable> {
  const mark = markOf(machine);
  const agent = await openAgent(machine);
  try {
    await leaveMark(mark);
    failpoint('machine.freeze.before');
    const count = await agent.execute('guest-fsfreeze-freeze', undefined, { patience });
    failpoint('machine.freeze.after');
    if (typeof count !== 'number' || count < 1)
      throw isleError('guestFailed', {
        what: 'freeze its file systems',
        detail: 'it has none that can be frozen',
      });
  } catch (error) {
    await thaw(machine, agent);
    throw error;
  }
  let late = false;
  const watchdog = setTimeout(() => {
    late = true;
    thaw(machine, agent).catch(() => {}); // Tried again by whoever froze it.
  }, longest);
  return {
    async [Symbol.asyncDispose]() {
      clearTimeout(watchdog);
      await thaw(machine, agent);
      if (late)
        throw isleError('guestFailed', {
          what: 'stay frozen',
          detail: `its file systems were thawed after ${longest / 1000} s, before the copy was done`,
        });
    },
  };
}

/** After a restart: a guest that a daemon froze and did not live to thaw. */
export async function thawForgotten(machine: FrozenMachine): Promise<void> {
  if (existsSync(markOf(machine))) await thaw(machine, undefined);
}

/** QEMU can write to the directory: what stands there is not followed. */
async function leaveMark(mark: string): Promise<void> {
  await rm(mark, { force: true });
  await (await open(mark, 'wx', 0o600)).close();
}

function markOf({ hardware }: FrozenMachine): string {
  return join(hardware.directory, 'frozen');
}

/** By the connection that is there, or a new one; a few times. Of a guest that is gone nothing is frozen. */
async function thaw(machine: FrozenMachine, agent: Agent | undefined): Promise<void> {
  const command = (one: Agent): Promise<unknown> =>
    one.execute('guest-fsfreeze-thaw', undefined, { patience });
  for (let attempt = 0; ; attempt++) {
    try {
      await (attempt === 0 && agent ? command(agent) : withAgent(machine, command));
      break;
    } catch (error) {
      if (isIsleError(error, 'guestGone') && attempt > 0) break;
      if (attempt === 4) throw error;
      await sleep(250 * (attempt + 1));
    } finally {
      await agent?.[Symbol.asyncDispose]();
    }
  }
  await rm(markOf(machine), { force: true });
}
