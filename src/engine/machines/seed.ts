import { join } from 'node:path';
import type { Attachment } from '../../network/network.ts';
import { writeSeed } from '../../storage/seed/seed.ts';
import { machineDirOf } from '../containers/paths.ts';
import type { EngineContext } from '../context.ts';
import type { CloudInit } from '../machine.ts';

/** Writes what cloud-init reads as a CD into the machine's directory, anew for each start. Returns its path. */
export async function makeSeed(
  ctx: EngineContext,
  id: string,
  seed: CloudInit,
  attachment: Attachment | undefined,
): Promise<string> {
  const path = join(machineDirOf(ctx, id), 'seed.iso');
  const links = (attachment?.endpoints ?? []).map(({ macAddress, ipv4, ipv6 }) => ({
    macAddress,
    addresses: [ipv4, ipv6].flatMap((one) => (one ? `${one.address}/${one.prefixLength}` : [])),
  }));
  await writeSeed(path, seed, links);
  return path;
}
