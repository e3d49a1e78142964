import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { checkHardware } from '../../../engine/machines/check-hardware.ts';
import { isIsleError, messageOf } from '../../../lib/errors.ts';
import { Fields } from '../../http/fields.ts';
import { Query } from '../../http/query.ts';
import { parseMachine, parseMachineChange } from './parse-machine.ts';

const names = [
  'Name,Container,Hardware,Disks,Memory,Vcpus,Arch,Type,Firmware,Kernel,Path,Initrd,Arguments,Cdroms,Target,NicModels',
  'Shares,Source,Tag,ReadOnly,Usb,Vendor,Product,Pci,Boot,CloudInit,SshKeys,User,Root,UserData,InstanceId,Remove',
  'Kind,Size,Format,Digest,Disk,Linked,Bus,Cache,Limits,ReadBps,Serial,Controller,HostConfig,NetworkMode,__proto__',
].flatMap((line) => line.split(','));

const value = fc.letrec((tie) => ({
  any: fc.oneof(
    { maxDepth: 5 },
    fc.constantFrom(null, true, 0, -1, 1e300, 0.5, 1 << 30, '', '/', 'vda', 'q35', 'empty', '\0', 'a\nb'),
    fc.string(),
    fc.array(tie('any'), { maxLength: 3 }),
    tie('object'),
  ),
  object: fc.dictionary(fc.constantFrom(...names), tie('any'), { maxKeys: 6 }),
}));

test('any JSON is a machine that passes the checks, or is refused as the client’s mistake', () => {
  const query = new Query('/isle/v1/machines');
  fc.assert(
    fc.property(value.object, value.object, (body, hardware) => {
      refusedOrFine(() => {
        const parsed = parseMachine(new Fields({ ...(body as object), Hardware: hardware }), query);
        checkHardware({ snapshots: [], ...parsed.hardware, disks: [] } as Parameters<
          typeof checkHardware
        >[0]);
      });
      refusedOrFine(() => parseMachineChange(new Fields(hardware)));
    }),
    { numRuns: 2000 },
  );
});

function refusedOrFine(work: () => unknown): void {
  try {
    work();
  } catch (error) {
    assert.ok(isIsleError(error), messageOf(error));
    assert.ok(error.status < 500 || error.status === 501, error.message);
    assert.doesNotMatch(error.message, /\p{Cc}/u);
  }
}
