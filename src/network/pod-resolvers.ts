import { join } from 'node:path';
import { NetworkJob } from '../host/network-job.ts';
import { errnoOf } from '../lib/errors.ts';
import type { Rollback } from '../lib/rollback.ts';
import type { Resolver } from './dns/resolver.ts';
import { needsResolver, type FileContext } from './files.ts';
import type { Records, StoredPod } from './records.ts';
import { bindResolver, newResolverPort, openResolver } from './slots.ts';

export interface PodResolversOptions {
  records: Records;
  resolver: Resolver;
  fileContext: () => FileContext;
  /** Where the namespaces' files are. */
  directory: string;
}

/** Opens the resolver in the namespaces of pods that have none from the pool. */
export class PodResolvers {
  readonly #options: PodResolversOptions;

  constructor(options: PodResolversOptions) {
    this.#options = options;
  }

  /** Opens the resolver for a pod that needs it and has none yet. */
  async ensure(pod: StoredPod, undo: Rollback): Promise<void> {
    if (pod.dnsPort !== undefined || !needsResolver(pod, this.#options.fileContext())) return;
    const { resolver, directory, records } = this.#options;
    const port = newResolverPort();
    const { sockets } = await openResolver(
      new NetworkJob().enter(join(directory, pod.namespace)),
      port,
    ).run();
    resolver.serve(pod.podId, { udp: sockets[0]!.fd, tcp: sockets[1]!.fd });
    undo.add('resolver', () => resolver.stop(pod.podId));
    records.pods.put(pod.podId, { ...records.pods.get(pod.podId)!, dnsPort: port });
  }

  /** After a restart: listens where the pod's rules lead. */
  async resume(pod: StoredPod): Promise<void> {
    if (pod.dnsPort === undefined || this.#options.resolver.serves(pod.podId)) return;
    const { resolver, directory, records } = this.#options;
    const path = join(directory, pod.namespace);
    // The pod may have taken the port while nobody listened: then another one is as good.
    for (const port of [pod.dnsPort, newResolverPort(), newResolverPort()]) {
      const open = port === pod.dnsPort ? bindResolver : openResolver;
      const opened = await open(new NetworkJob().enter(path), port).run().catch(ignoreInUse);
      if (opened === undefined) continue;
      resolver.serve(pod.podId, { udp: opened.sockets[0]!.fd, tcp: opened.sockets[1]!.fd });
      if (port !== pod.dnsPort) records.pods.put(pod.podId, { ...pod, dnsPort: port });
      return;
    }
  }
}

function ignoreInUse(error: unknown): undefined {
  if (errnoOf(error) !== 'EADDRINUSE') throw error;
}
