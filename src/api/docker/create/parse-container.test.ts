import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ContainerSpec } from '../../../engine/model.ts';
import { Fields } from '../../http/fields.ts';
import { Query } from '../../http/query.ts';
import { parseContainer, parseContainerName } from './parse-container.ts';

function parse(body: object, query = '/x'): ContainerSpec {
  return parseContainer(new Fields({ Image: 'busybox', ...body }), new Query(query));
}

function host(HostConfig: object): ContainerSpec {
  return parse({ HostConfig });
}

test('what the stock client sends for a plain run is accepted, its zeroes mean "not set"', () => {
  const spec = host({
    Binds: null,
    ContainerIDFile: '',
    LogConfig: { Type: '', Config: {} },
    NetworkMode: 'default',
    PortBindings: {},
    RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
    AutoRemove: false,
    ConsoleSize: [0, 0],
    CgroupnsMode: '',
    IpcMode: '',
    MemorySwappiness: -1,
    OomKillDisable: false,
    PidsLimit: 0,
    BlkioWeightDevice: [],
    DeviceRequests: null,
    CpuCount: 0,
    Isolation: '',
  });
  assert.deepEqual(spec.resources, {});
  assert.equal(spec.networkMode, 'bridge');
  assert.equal(spec.consoleSize, undefined);
  assert.equal(spec.ipcMode, 'private');
});

test('entrypoint and command keep the difference between absent, empty and reset', () => {
  assert.equal(parse({}).entrypoint, undefined);
  assert.deepEqual(parse({ Entrypoint: [] }).entrypoint, []);
  assert.deepEqual(parse({ Entrypoint: [''] }).entrypoint, ['']);
  assert.deepEqual(parse({ Cmd: 'date' }).command, ['date']);
});

test('binds', () => {
  const [bind, volume, nocopy] = host({
    Binds: ['/a/../b:/c/:ro,rshared', 'data:/data', 'data:/other:nocopy'],
  }).mounts;
  assert.deepEqual(bind, {
    type: 'bind',
    source: '/b',
    target: '/c',
    readOnly: true,
    createSource: true,
    mode: 'ro,rshared',
    propagation: 'rshared',
    origin: 'binds',
  });
  assert.deepEqual(volume, {
    type: 'volume',
    source: 'data',
    target: '/data',
    readOnly: false,
    origin: 'binds',
  });
  assert.equal(nocopy?.noCopy, true);
});

test('binds that cannot be are refused', () => {
  const wrong: [string, RegExp][] = [
    ['/a', /invalid volume specification/],
    ['/a:b', /must be absolute/],
    ['/a:/', /can't be '\/'/],
    ['a/b:/c', /host path must be absolute/],
    ['../x:/c', /host path must be absolute/],
    ['-x:/c', /invalid characters/],
    ['/a:/b:rw,ro', /invalid mode/],
    ['/a:/b:nope', /invalid mode/],
    ['/a:/b:nocopy', /nocopy is for volumes/],
    ['vv:/b:shared', /propagation is for host paths/],
    ['/a:/b:c:d', /invalid volume specification/],
  ];
  for (const [bind, message] of wrong) assert.throws(() => host({ Binds: [bind] }), message, bind);
  assert.throws(() => host({ Binds: ['/a:/x', '/b:/x/'] }), /Duplicate mount point: \/x/);
});

test('mounts', () => {
  const [bind, volume, tmpfs] = host({
    Mounts: [
      {
        Type: 'bind',
        Source: '/a',
        Target: '/b',
        ReadOnly: true,
        BindOptions: { ReadOnlyForceRecursive: true },
      },
      {
        Type: 'volume',
        Target: '/v',
        VolumeOptions: { NoCopy: true, Subpath: 'x/y', Labels: { a: 'b' }, DriverConfig: { Name: 'local' } },
      },
      { Type: 'tmpfs', Target: '/t', TmpfsOptions: { SizeBytes: 100, Mode: 0o700, Options: [['noexec']] } },
    ],
  }).mounts;
  assert.equal(bind?.readOnlyForceRecursive, true);
  assert.equal(bind?.createSource, false);
  assert.deepEqual(volume, {
    type: 'volume',
    source: '',
    target: '/v',
    readOnly: false,
    origin: 'mounts',
    noCopy: true,
    subpath: 'x/y',
    labels: { a: 'b' },
    driver: 'local',
  });
  assert.deepEqual(tmpfs?.tmpfs, { size: 100, mode: 0o700, options: ['noexec'] });
});

test('mounts that cannot be are refused', () => {
  const wrong: [object, RegExp][] = [
    [{ Type: 'bind', Target: '/b' }, /Source must not be empty/],
    [{ Type: 'bind', Source: 'x', Target: '/b' }, /must be absolute/],
    [{ Type: 'bind', Source: '/x', Target: '/b', VolumeOptions: {} }, /VolumeOptions must not be specified/],
    [{ Type: 'tmpfs', Source: '/x', Target: '/b' }, /Source must not be specified/],
    [{ Type: 'volume', Target: '/b', VolumeOptions: { Subpath: '../x' } }, /relative path inside/],
    [{ Type: 'nope', Target: '/b' }, /unknown type/],
    [{ Target: '/b' }, /Type must not be empty/],
    [{ Type: 'volume' }, /path inside the container is empty/],
  ];
  for (const [mount, message] of wrong) assert.throws(() => host({ Mounts: [mount] }), message);
});

test('ports', () => {
  const spec = parse({
    ExposedPorts: { '80/tcp': {}, '9000-9001/udp': {} },
    HostConfig: {
      PortBindings: {
        '80/tcp': [
          { HostIp: '127.0.0.1', HostPort: '8080' },
          { HostIp: '::1', HostPort: '' },
        ],
        '81/tcp': [{ HostPort: '7000-7010' }],
        '82/tcp': null,
      },
    },
  });
  assert.equal(spec.exposedPorts.length, 3);
  assert.deepEqual(spec.portBindings, [
    { port: 80, protocol: 'tcp', hostIp: '127.0.0.1', hostPort: 8080 },
    { port: 80, protocol: 'tcp', hostIp: '::1', hostPort: 0 },
    { port: 81, protocol: 'tcp', hostIp: '', hostPort: 7000, hostPortEnd: 7010 },
    { port: 82, protocol: 'tcp', hostIp: '', hostPort: 0 },
  ]);
  for (const key of ['0/tcp', '65536', 'x', '80/foo', '9-8'])
    assert.throws(() => parse({ ExposedPorts: { [key]: {} } }), /invalid port/, key);
  assert.throws(() => host({ PortBindings: { '80': [{ HostIp: 'x' }] } }), /invalid IP address/);
  assert.throws(() => host({ PortBindings: { '80': [{ HostPort: '70000' }] } }), /invalid port spec/);
});

test('what would reach a file or a command line unescaped is refused', () => {
  assert.throws(() => host({ ExtraHosts: ['a b:1.2.3.4'] }), /bad format for add-host/);
  assert.throws(() => host({ ExtraHosts: ['a:1.2.3.4\nb'] }), /bad format for add-host/);
  assert.throws(() => host({ Dns: ['1.2.3.4\nx'] }), /not an IP address/);
  assert.throws(() => host({ DnsSearch: ['a\nb'] }), /invalid DNS search/);
  assert.throws(
    () => parse({ NetworkingConfig: { EndpointsConfig: { n: { Aliases: ['a\nb'] } } } }),
    /alias/,
  );
  assert.throws(() => host({ Tmpfs: { '/t': 'size=1,bogus' } }), /invalid tmpfs option/);
  assert.throws(() => host({ DeviceCgroupRules: ['c 1:3 rwm\nb'] }), /invalid device cgroup rule/);
  assert.throws(() => host({ Devices: [{ PathOnHost: 'x' }] }), /not an absolute path/);
});

test('namespaces', () => {
  assert.deepEqual(host({ PidMode: 'container:abc' }).pidMode, { container: 'abc' });
  assert.equal(host({ UTSMode: 'host' }).utsMode, 'host');
  assert.throws(() => host({ PidMode: 'container:' }), /container is missing/);
  assert.throws(() => host({ IpcMode: 'nope' }), /IpcMode/);
  assert.throws(() => host({ UTSMode: 'container:x' }), /UTSMode/);
});

test('endpoints', () => {
  const { networks } = parse({
    NetworkingConfig: {
      EndpointsConfig: {
        default: null,
        net: {
          IPAMConfig: { IPv4Address: '10.0.0.5', IPv6Address: 'fd00::5' },
          Aliases: ['web'],
          MacAddress: '02-42-AC-11-00-02',
          DriverOpts: { a: 'b' },
          GwPriority: 1,
          NetworkID: 'ignored',
        },
      },
    },
  });
  assert.deepEqual(networks, {
    bridge: {},
    net: {
      aliases: ['web'],
      ipv4Address: '10.0.0.5',
      ipv6Address: 'fd00::5',
      macAddress: '02:42:ac:11:00:02',
      driverOptions: { a: 'b' },
      gwPriority: 1,
    },
  });
  const endpoint = (value: object) => parse({ NetworkingConfig: { EndpointsConfig: { n: value } } });
  assert.throws(() => endpoint({ IPAMConfig: { IPv4Address: 'fd00::5' } }), /not an IPv4 address/);
  assert.throws(() => endpoint({ MacAddress: 'xx' }), /MacAddress/);
});

test('names', () => {
  assert.equal(parseContainerName('/web-1'), 'web-1');
  assert.equal(parseContainerName(''), undefined);
  for (const name of ['a', '-ab', 'a b', 'a/b', '../x', 'x'.repeat(256)])
    assert.throws(() => parseContainerName(name), /Invalid container name/);
});
