import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type TestDaemon, startDaemon } from '../fixtures/daemon.ts';
import { DockerClient } from '../fixtures/docker-client.ts';

const count = 20;
const names = Array.from({ length: count }, (_, index) => `vm${index}`);
/** Milliseconds: the guests are emulated, and two processors are all there are. */
const patience = 480_000;

let directory: string;
let daemon: TestDaemon;
let docker: DockerClient;
before(async () => {
  directory = mkdtempSync(join(tmpdir(), 'isle-twenty-'));
  const config = join(directory, 'config.yaml');
  // Other tests may be at work beside.
  writeFileSync(config, 'microvm: { bootTimeout: 240 }\n');
  daemon = await startDaemon({ args: ['--config', config] });
  docker = new DockerClient(daemon.host);
});
after(async () => {
  docker[Symbol.dispose]();
  await daemon.close();
  rmSync(directory, { recursive: true });
});

/** Without the client's own time-out: of twenty that boot at once, the last takes a while. */
async function ok(...args: string[]): Promise<string> {
  const child = docker.start(args);
  const output = Promise.all([text(child.stdout!), text(child.stderr!)]);
  child.stdin!.end();
  const [code] = (await once(child, 'close')) as [number];
  const [stdout, stderr] = await output;
  assert.equal(code, 0, `docker ${args.join(' ')}: ${stderr}`);
  return stdout.trim();
}

test(`${count} microVMs that start at once all get healthy, know each other, and go`, {
  timeout: patience,
}, async () => {
  await ok('network', 'create', 'street');
  const serve = ['sh', '-c', 'hostname > /index.html; exec httpd -f -p 80 -h /'];
  const health = [
    '--health-cmd',
    'wget -qO- http://127.0.0.1/',
    '--health-interval',
    '10s',
    '--health-timeout',
    '60s',
  ];
  const common = ['--runtime', 'microvm', '--memory', '128m', '--network', 'street', ...health];
  await Promise.all(
    names.map((name) => ok('run', '-d', '--name', name, '--hostname', name, ...common, 'busybox', ...serve)),
  );
  const healthy = async (): Promise<number> =>
    (await ok('ps', '--filter', 'health=healthy', '--format', '{{.Names}}')).split('\n').filter(Boolean)
      .length;
  while ((await healthy()) < count) await sleep(500);
  const reached = await ok(
    ...['run', '--rm', '--network', 'street', 'busybox', 'sh', '-c'],
    `for name in ${names.join(' ')}; do wget -qO- http://$name/; done`,
  );
  assert.deepEqual(reached.split('\n'), names);
  const around = await ok('exec', names[0]!, 'sh', '-c', `wget -qO- http://${names.at(-1)}/`);
  assert.equal(around, names.at(-1));
  assert.equal(await healthy(), count, 'still');
  await ok('rm', '-f', ...names);
});
