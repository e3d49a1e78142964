import type { MachineBody } from '../client/machine-types.ts';
import type { Context } from '../context.ts';
import { containerPath, eachName } from '../each-name.ts';

/** `/isle/v1/machines/<id>`, the name made safe for a path. */
export function machinePath(name: string): string {
  return `/isle/v1/machines/${encodeURIComponent(name)}`;
}

export function getMachine({ client }: Context, name: string): Promise<MachineBody> {
  return client.get<MachineBody>(machinePath(name));
}

/**
 * Does to each machine what containers have, too (start, kill, pause), and prints its name. Asked for as a machine
 * first: `isle vm destroy web` must not kill a container.
 */
export function eachAsContainer(
  context: Context,
  names: readonly string[],
  action: string,
  doing: string,
): Promise<number> {
  return eachName(
    context,
    names,
    async (name) => {
      const { Id } = await getMachine(context, name);
      await context.client.status('POST', `${containerPath(Id)}/${action}`);
    },
    doing,
  );
}

/** Posts `action` of the machines' own API to each. */
export function eachMachine(
  context: Context,
  names: readonly string[],
  action: string,
  doing: string,
): Promise<number> {
  const act = async (name: string) => {
    await context.client.status('POST', `${machinePath(name)}/${action}`);
  };
  return eachName(context, names, act, doing);
}
