import { isAbsolute } from 'node:path';
import type { Engine } from '../../../engine/engine.ts';
import { parseContainerName } from '../../docker/create/parse-container.ts';
import type { Fields } from '../../http/fields.ts';
import type { Route } from '../../http/call.ts';
import { withWork } from '../work-stream.ts';
import { requiredText, requiredWord, word } from './parse-hardware.ts';
import { refuseUnknown } from './unknown-fields.ts';

/** Machines from and to other hypervisors' files, which lie on the engine's host. */
export function machineApplianceRoutes({ machines }: Engine): Route[] {
  return [
    {
      method: 'POST',
      path: '/isle/v1/machines/import',
      async handle(call) {
        const body = await call.json();
        refuseUnknown(body, ['Path', 'Name', 'Hint', 'Virtio']);
        const path = absolutePath(body);
        const name = parseContainerName(body.text('Name'));
        const hint = word(body, 'Hint', hints);
        const virtio = body.flag('Virtio');
        return await withWork(call, async (onProgress, signal) => {
          const options = { name, hint, virtio, onProgress, signal };
          const { id, warnings } = await machines.appliances.import(path, options);
          return { Id: id, Warnings: warnings };
        });
      },
    },
    {
      method: 'POST',
      path: '/isle/v1/machines/:id/export',
      async handle(call) {
        const body = await call.json();
        refuseUnknown(body, ['Path', 'Format']);
        const target = absolutePath(body);
        const format = requiredWord(body, 'Format', exports);
        const id = machines.get(call.param('id')).id;
        return await withWork(call, async (onProgress, signal) => {
          const { files, bytes } = await machines.appliances.export(id, {
            format,
            target,
            onProgress,
            signal,
          });
          return { Files: files, Bytes: bytes };
        });
      },
    },
  ];
}

const disks = ['qcow2', 'raw', 'vmdk', 'vdi', 'vhdx', 'vpc', 'parallels'] as const;
const hints = ['ova', 'ovf', 'vmx', 'vbox', 'vmcx', 'xva', 'xl', 'pvs', 'libvirt', 'disk', ...disks] as const;
const exports = ['ova', ...disks] as const;

function absolutePath(body: Fields): string {
  const path = requiredText(body, 'Path');
  if (!isAbsolute(path)) throw body.invalid('Path', 'an absolute path of the host is needed');
  return path;
}
