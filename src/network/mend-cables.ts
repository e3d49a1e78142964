import { findLinks, setLink } from '../host/netlink.ts';
import { NetworkJob } from '../host/network-job.ts';
import type { Networks } from './networks.ts';
import type { Records } from './records.ts';

/**
 * After a restart, for the pods that run: an endpoint that was not finished, or not quite removed, has no cable and
 * goes; a cable whose bridge had to be made again is plugged in.
 */
export async function mendCables(
  { pods }: Records,
  networks: Networks,
  running: ReadonlySet<string>,
): Promise<void> {
  const alive = pods.all().filter(({ podId }) => running.has(podId));
  const cables = alive.flatMap((pod) => pod.endpoints.map(({ hostLink }) => hostLink));
  const bridges = networks.all().flatMap(({ record }) => record.bridge ?? []);
  const links = await findLinks([...cables.filter((name) => name !== ''), ...bridges]);
  const job = new NetworkJob();
  for (const pod of alive) {
    const endpoints = pod.endpoints.filter(({ hostLink }) => hostLink === '' || links.has(hostLink));
    if (endpoints.length < pod.endpoints.length) pods.put(pod.podId, { ...pod, endpoints });
    for (const { hostLink, networkId } of endpoints) {
      const bridge = networks.find(networkId)?.record.bridge;
      if (hostLink === '' || !bridge || links.get(hostLink)?.master === links.get(bridge)?.index) continue;
      job.route([setLink(hostLink, { master: bridge, up: true })]);
    }
  }
  await job.run();
}
