import { isleError } from '../../lib/errors.ts';
import type { ContainerSpec, Resources } from '../model.ts';

/** Of what containers may be asked for: refuses what says nothing about a machine, with the way to what is meant. */
export function checkMachineContainer(spec: ContainerSpec): void {
  const asked: [string, boolean, string][] = [
    ['a command', given(spec.command) || given(spec.entrypoint), 'it boots what is on its disks'],
    ['environment variables', spec.env.length > 0, 'give its guest what it shall know by cloud-init'],
    ['a user', spec.user !== '' || spec.groupAdd.length > 0, 'its guest has users of its own'],
    ['a working directory', spec.workingDir !== '', 'it runs no command'],
    [
      'mounts',
      spec.mounts.length > 0 || spec.volumesFrom.length > 0,
      'share directories with --filesystem, give it disks with --disk',
    ],
    ['--read-only', spec.readonlyRootfs, 'say readonly=on of a disk'],
    ['--init', spec.init === true, 'its guest has one'],
    ['--privileged', spec.privileged, 'its guest has a kernel of its own'],
    ['capabilities', spec.capAdd.length > 0 || spec.capDrop.length > 0, 'its guest has a kernel of its own'],
    ['--security-opt', spec.securityOpt.length > 0, 'its guest has a kernel of its own'],
    ['--device', spec.devices.length > 0, 'pass devices through with --hostdev'],
    ['--sysctl', Object.keys(spec.sysctls).length > 0, 'its guest has a kernel of its own'],
    ['--ulimit', spec.ulimits.length > 0, 'its guest has a kernel of its own'],
    ['--shm-size', spec.shmSize !== undefined, 'its guest has a memory of its own'],
  ];
  const wrong = asked.find(([, is]) => is);
  if (wrong)
    throw isleError('invalidParameter', {
      message: `a virtual machine cannot take ${wrong[0]}: ${wrong[2]}`,
    });
  checkMachineLimits(spec.resources);
}

/** Its guest has the memory that its hardware says; processors may be limited. Also for `update`. */
export function checkMachineLimits({ memory, memorySwap, memoryReservation }: Resources): void {
  if (memory !== undefined || memorySwap !== undefined || memoryReservation !== undefined)
    throw isleError('invalidParameter', {
      message:
        'the memory of a virtual machine is its hardware, not a limit of a container: change it with "isle vm setmem"',
    });
}

function given(words: string[] | undefined): boolean {
  return words !== undefined && words.length > 0;
}
