import { readAll } from '../client/lines.ts';
import type { ContainerInspect } from '../client/types.ts';
import type { Context } from '../context.ts';
import { containerPath } from '../each-name.ts';
import { Failure } from '../failure.ts';
import { Demultiplexer } from '../session/demultiplex.ts';
import { runInForeground } from '../session/foreground.ts';
import { getMachine } from './machine.ts';

/** virsh's key to leave a console. */
const virshKey = 'ctrl-]';

export interface ConsoleOptions {
  detachKeys?: string | undefined;
  /** False: only look. */
  stdin: boolean;
  /** Lines from before. */
  tail: number;
}

/** Connects this terminal to a machine's serial console, its last lines first. */
export async function openConsole(context: Context, name: string, options: ConsoleOptions): Promise<number> {
  const { client, out, err } = context;
  const { Id } = await getMachine(context, name);
  const machine = await client.get<ContainerInspect>(`${containerPath(Id)}/json`);
  if (!machine.State.Running)
    throw new Failure(`${name} is off`, {
      hint: `start it: isle vm start ${name}; what it wrote: isle logs ${name}`,
    });
  const tty = machine.Config.Tty;
  const stdin = options.stdin && machine.Config.OpenStdin;
  if (err.isTerminal && stdin && process.stdin.isTTY)
    err.line(`isle: on the console of ${name}; Ctrl-] leaves`);
  const code = await runInForeground(context, {
    id: Id,
    name,
    tty,
    stdin,
    stdout: true,
    stderr: true,
    detachKeys: options.detachKeys,
    otherKeys: virshKey,
    comeBack: `isle vm console ${name}`,
    sigProxy: false,
    wait: 'not-running',
    before: async () => {
      if (options.tail > 0) out.write(await lastLines(context, Id, options.tail, tty));
    },
  });
  // How the guest ended is no failure of looking at it; Ctrl-C is said.
  return code === 130 ? code : 0;
}

/** What the console wrote last, as it was. */
export async function lastLines(
  { client }: Pick<Context, 'client'>,
  id: string,
  tail: number,
  tty: boolean,
): Promise<Buffer> {
  const query = { stdout: true, stderr: true, tail };
  const body = await readAll(await client.body('GET', `${containerPath(id)}/logs`, { query }));
  if (tty) return body;
  const parts: Buffer[] = [];
  const keep = (data: Buffer) => parts.push(Buffer.from(data));
  new Demultiplexer({ stdout: keep, stderr: keep }).write(body);
  return Buffer.concat(parts);
}
