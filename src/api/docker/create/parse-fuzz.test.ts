import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isIsleError } from '../../../lib/errors.ts';
import { Fields } from '../../http/fields.ts';
import { Query } from '../../http/query.ts';
import { parseExec } from '../exec.ts';
import { parseNetwork } from '../networks.ts';
import { parseContainer } from './parse-container.ts';

const names = [
  'Image,Cmd,Entrypoint,Env,Labels,ExposedPorts,Volumes,Healthcheck,HostConfig,NetworkingConfig,StopSignal,Tty',
  'Binds,Mounts,Tmpfs,PortBindings,RestartPolicy,LogConfig,Memory,NanoCpus,Devices,Ulimits,DeviceCgroupRules',
  'ExtraHosts,Dns,IpcMode,PidMode,UTSMode,CapAdd,SecurityOpt,Sysctls,ConsoleSize,MaskedPaths,BlkioWeightDevice',
  'EndpointsConfig,IPAMConfig,Aliases,MacAddress,Type,Source,Target,BindOptions,VolumeOptions,TmpfsOptions,Options',
  'Name,Driver,IPAM,Config,Subnet,Gateway,AuxiliaryAddresses,Test,Interval,HostIp,HostPort,80/tcp,__proto__',
].flatMap((line) => line.split(','));

const value = fc.letrec((tie) => ({
  any: fc.oneof(
    { maxDepth: 5 },
    fc.constantFrom(
      null,
      true,
      false,
      0,
      -1,
      1e300,
      0.5,
      '',
      '/',
      'a:b',
      '/a:/b:ro',
      'container:',
      '80/tcp',
      '\0',
    ),
    fc.string(),
    fc.array(tie('any'), { maxLength: 3 }),
    tie('object'),
  ),
  object: fc.dictionary(fc.oneof(fc.constantFrom(...names), fc.string()), tie('any'), { maxKeys: 6 }),
})).object;

const parsers: Record<string, (body: object) => unknown> = {
  'a container': (body) => parseContainer(new Fields(body), new Query('/')),
  'a container with an image': (body) => parseContainer(new Fields({ Image: 'a', ...body }), new Query('/')),
  'a host configuration': (body) =>
    parseContainer(new Fields({ Image: 'a', HostConfig: body }), new Query('/')),
  'an endpoint': (body) =>
    parseContainer(
      new Fields({ Image: 'a', NetworkingConfig: { EndpointsConfig: { n: body } } }),
      new Query('/'),
    ),
  'an exec': (body) => parseExec(new Fields(body)),
  'a network': (body) => parseNetwork(new Fields({ Name: 'n', ...body })),
};

for (const [what, parse] of Object.entries(parsers)) {
  test(`${what} of any JSON is read or refused with a clear error`, () => {
    fc.assert(
      fc.property(value, (body) => {
        try {
          parse(body as object);
        } catch (error) {
          assert.ok(
            isIsleError(error) && error.status < 502,
            String(error instanceof Error ? error.stack : error),
          );
        }
      }),
      { numRuns: 1000 },
    );
  });
}

test('JSON nested deeper than the stack is refused, not fatal', () => {
  let deep: unknown = 1;
  for (let level = 0; level < 100_000; level++) deep = [deep];
  assert.throws(
    () => parseContainer(new Fields({ Image: 'a', HostConfig: { DeviceRequests: deep } }), new Query('/')),
    {
      code: 'notImplemented',
    },
  );
});
