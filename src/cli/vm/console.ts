import type { ContainerInspect } from '../client/types.ts';
import type { Context } from '../context.ts';
import { containerPath } from '../each-name.ts';
import { Failure } from '../failure.ts';
import { runInForeground } from '../session/foreground.ts';
import { getMachine } from './machine.ts';

/** virsh's key to leave a console. */
export const consoleKeys = 'ctrl-]';

/** Connects this terminal to a machine's serial console. */
export async function openConsole(
  context: Context,
  name: string,
  options: { detachKeys?: string | undefined },
): Promise<number> {
  const { Id } = await getMachine(context, name);
  const machine = await context.client.get<ContainerInspect>(`${containerPath(Id)}/json`);
  if (!machine.State.Running)
    throw new Failure(`${name} is off`, { hint: `isle vm start ${name}; what it wrote: isle logs ${name}` });
  return runInForeground(context, {
    id: Id,
    name,
    tty: machine.Config.Tty,
    stdin: process.stdin.isTTY,
    stdout: true,
    stderr: true,
    detachKeys: options.detachKeys ?? consoleKeys,
    sigProxy: false,
    wait: 'not-running',
  });
}
