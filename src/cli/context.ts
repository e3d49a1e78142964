import { type Address, resolveAddress } from './client/address.ts';
import { Client } from './client/client.ts';
import { type ColorMode, Output } from './terminal/output.ts';

export interface Globals {
  host: string | undefined;
  color: ColorMode;
}

/** What a command gets: the engine's client, the two outputs and the environment. */
export interface Context {
  readonly client: Client;
  readonly out: Output;
  readonly err: Output;
  readonly env: NodeJS.ProcessEnv;
  readonly address: Address;
  /** The words of the call as typed, for hints (`isle attach`). */
  readonly commandName: string;
}

export function createContext(globals: Globals, env: NodeJS.ProcessEnv, commandName: string): Context {
  const address = resolveAddress(globals.host, env);
  return {
    address,
    client: new Client(address),
    out: new Output(1, globals.color, env),
    err: new Output(2, globals.color, env),
    env,
    commandName,
  };
}
