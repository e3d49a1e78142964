import { errnoOf } from '../lib/errors.ts';
import { dumpAddresses, readAddresses } from './netlink-address.ts';
import { dumpLinks, readLinks } from './netlink.ts';
import { NetworkJob } from './network-job.ts';

/** The station of a link of the daemon's own namespace, and all addresses it has now. Undefined when there is no such link. */
export async function linkAddresses(
  name: string,
): Promise<{ macAddress: Buffer; addresses: Buffer[] } | undefined> {
  for (let attempt = 0; ; attempt++) {
    try {
      const job = new NetworkJob()
        .route([dumpLinks()])
        .route([dumpAddresses()], { tolerate: attempt === 10 });
      const { replies } = await job.run();
      const link = readLinks(replies[0]!).find((one) => one.name === name);
      if (link === undefined) return undefined;
      const own = readAddresses(replies[1]!).filter((one) => one.link === link.index);
      return {
        macAddress: Buffer.from(link.mac.replaceAll(':', ''), 'hex'),
        addresses: own.map(({ address }) => address),
      };
    } catch (error) {
      // EINTR: the list changed while it was read.
      if (errnoOf(error) !== 'EINTR' || attempt === 10) throw error;
    }
  }
}
