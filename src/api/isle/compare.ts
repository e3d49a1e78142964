import type { Engine, Footprint, HostFacts } from '../../engine/engine.ts';
import type { Route } from '../http/call.ts';
import { json } from '../http/reply.ts';

/** What `isle compare` needs from outside of containers. */
export function compareRoutes(engine: Engine): Route[] {
  return [
    {
      method: 'GET',
      path: '/isle/v1/host',
      async handle() {
        return json(renderHost(await engine.system.host()));
      },
    },
    {
      method: 'GET',
      path: '/isle/v1/probe',
      async handle() {
        return {
          status: 200,
          headers: { 'content-type': 'application/octet-stream' },
          body: await engine.system.probe(),
        };
      },
    },
    {
      method: 'GET',
      path: '/isle/v1/containers/:id/footprint',
      async handle(call) {
        return json(renderFootprint(await engine.containers.footprint(call.param('id'))));
      },
    },
  ];
}

function renderHost({ kernel, bootId, namespaces, securityModules, cpu, kvm, load }: HostFacts): object {
  return {
    Kernel: kernel,
    BootId: bootId,
    Namespaces: namespaces,
    SecurityModules: securityModules,
    Cpu: cpu,
    Kvm: kvm.usable ? { Usable: true, Module: kvm.module } : { Usable: false, Why: kvm.why },
    Load: load,
  };
}

function renderFootprint(footprint: Footprint): object {
  return {
    Id: footprint.id,
    Memory: footprint.memory,
    Swapped: footprint.swapped,
    GuestMemory: footprint.guestMemory,
    OwnKernel: footprint.ownKernel,
    Processes: footprint.processes.map(({ pid, command, uid, memory, swapped, monitor }) => ({
      Pid: pid,
      Command: command,
      User: uid,
      Memory: memory,
      Swapped: swapped,
      Monitor: monitor,
    })),
    Prepared: footprint.prepared.map(({ name, bytes }) => ({ Name: name, Bytes: bytes })),
  };
}
