import { join } from 'node:path';
import { createServer } from '../api/http/server.ts';
import type { Engine } from '../engine/engine.ts';
import { Runtimes } from '../engine/runtimes.ts';
import { createEngine } from '../engine/service.ts';
import { detectCgroups } from '../host/cgroup/detect.ts';
import { fileAppliances } from '../images/appliances/file-appliances.ts';
import { createImages } from '../images/service.ts';
import { createContentStore } from '../images/store/store.ts';
import { createUnpacker } from '../images/unpack/unpack.ts';
import { messageOf } from '../lib/errors.ts';
import { readLog } from '../lib/k8s-log/read.ts';
import type { Logger } from '../lib/log.ts';
import { kernelSource } from '../runtimes/microvm/kernel-source.ts';
import { createRefit } from '../runtimes/machine/refit/refit.ts';
import type { NetworkConfig } from '../network/config.ts';
import { createNetwork } from '../network/service.ts';
import { type DatabaseStore, openStore } from '../state/store.ts';
import { createContainerFiles } from '../storage/archive.ts';
import { createBackups } from '../storage/backups/service.ts';
import { createDisks } from '../storage/disks/service.ts';
import { createSnapshots } from '../storage/overlay.ts';
import { createStorageWorkers } from '../storage/storage-workers.ts';
import { createVolumeFiles } from '../storage/volumes.ts';
import type { DaemonConfig } from './config.ts';
import { hostReporter } from './host-report.ts';
import { runtimeOffers } from './runtimes.ts';

import { version } from './version.ts';

/** The one list of what is linked together: decode the configuration, construct, nothing else. */
export async function createParts(config: DaemonConfig, log: Logger): Promise<{ close(): Promise<void> }> {
  const { dataRoot, runRoot, instance } = config;
  const store = openStore(join(dataRoot, 'isle.db'));
  if (store.setAside)
    log.error(store.setAside, 'the database was damaged and has been set aside; what could be read was kept');
  const common = { store, dataRoot, runRoot, instance, log };
  const workers = createStorageWorkers();
  const snapshots = createSnapshots({ ...common, workers });
  const content = createContentStore(common);
  const unpacker = createUnpacker({});
  const images = createImages({ ...common, snapshots, content, unpacker, config: config.images });
  const [network, runtimes] = await Promise.all([
    createNetwork({ ...common, config: networkConfig(config) }),
    Runtimes.open(runtimeOffers(config, log), config.runtime.default, log),
  ]);
  const machineBackups = createBackups();
  const engine = await createEngine({
    ...common,
    version,
    debug: config.logLevel === 'debug',
    runtimes,
    images,
    network,
    snapshots,
    files: createContainerFiles({ ...common, workers }),
    volumeFiles: createVolumeFiles({ ...common, workers }),
    disks: createDisks({ dataRoot, log }),
    backups: machineBackups,
    appliances: fileAppliances(),
    refit: createRefit(() => kernelSource(config.microvm.kernelSource)),
    readLog,
    defaults: config.containers,
    hostReport: hostReporter(runtimes, config.containers),
  });
  const server = await createServer({ engine, config: { version, dataRoot }, log });
  await server.listen(config.dockerSocket);
  const backups = keepBackups(store, log);
  return {
    async close() {
      await server.close();
      await engine.close();
      await network.close();
      await removeCgroup(engine, config);
      await runtimes.close();
      await unpacker.close();
      await workers.close();
      await machineBackups.close();
      clearInterval(backups);
      await store.backup();
      store.close();
    },
  };
}

/** Milliseconds. */
const backupInterval = 60_000;

function keepBackups(store: DatabaseStore, log: Logger): NodeJS.Timeout {
  const timer = setInterval(() => {
    store
      .backup()
      .catch((error: unknown) => log.error({ err: error }, `backup of the database: ${messageOf(error)}`));
  }, backupInterval);
  return timer.unref();
}

/** The cgroup that all containers lie in goes with the last of them. */
async function removeCgroup(engine: Engine, { instance }: DaemonConfig): Promise<void> {
  const running = engine.containers.list().some(({ state }) => ['running', 'paused'].includes(state.phase));
  if (!running) await (await detectCgroups()).cgroup(`/${instance}`).remove();
}

function networkConfig({ network }: DaemonConfig): NetworkConfig {
  const { bridgeSubnet, bridgeIPv6Subnet, mtu, addressPools, dns, namespacePool } = network;
  return {
    bridge: { subnet: bridgeSubnet, ipv6Subnet: bridgeIPv6Subnet, mtu },
    addressPools,
    dns,
    mtu,
    pool: namespacePool,
  };
}
