import assert from 'node:assert/strict';
import { get } from 'node:http';
import { text } from 'node:stream/consumers';
import { after, before, describe, test } from 'node:test';
import { Terminal } from '../fixtures/command-line.ts';
import { type Isolation, isolations, type SideBySide, sideBySide } from '../fixtures/side-by-side.ts';

/** One image at every isolation on one network: what holds for one holds for all, from both clients. */
describe('side by side', { concurrency: false }, () => {
  let world: SideBySide;
  const pids = new Map<string, string>();
  const names = isolations.map(({ name }) => name);

  before(async () => {
    world = await sideBySide();
    await world.docker.ok('network', 'create', 'town');
    await Promise.all(isolations.map(run));
    await each((name) =>
      world.until(`${name} serves`, async () => (await fetchText(await portOf(name))) === name),
    );
  });
  after(async () => await world[Symbol.asyncDispose]());

  const health = ['--health-cmd', 'wget -qO- http://127.0.0.1/cgi-bin/name', '--health-interval', '500ms'];

  async function run({ name, flags }: Isolation): Promise<void> {
    const words = ['run', '-d', '--name', name, '--hostname', name, '--network', 'town', '-m', '256m'];
    const more = ['-p', '127.0.0.1::80', '-v', 'shared:/shared', ...health, ...flags, 'app'];
    await world.docker.ok(...words, ...more);
  }

  async function each(work: (name: string, isolation: Isolation) => Promise<unknown>): Promise<void> {
    await Promise.all(isolations.map((isolation) => work(isolation.name, isolation)));
  }

  const portOf = async (name: string) => (await world.docker.ok('port', name, '80/tcp')).split(':').at(-1)!;

  async function everybodyReachesEverybody(): Promise<void> {
    for (const from of names)
      for (const to of names)
        assert.equal(
          await world.inside(from, 'wget', '-qO-', `http://${to}/cgi-bin/name`),
          to,
          `${from} → ${to}`,
        );
  }

  test('each resolves and reaches the others by name', everybodyReachesEverybody);

  test('each is reached from the host on its published port', async () => {
    await each(async (name) => assert.equal(await fetchText(await portOf(name)), name));
  });

  test('ps shows them, and how each is isolated', async () => {
    const lines = (await world.isleOk('ps', '--format', '{{.Names}} {{.Isolation}} {{.State}}')).split('\n');
    assert.deepEqual(lines.sort(), isolations.map(({ name, shown }) => `${name} ${shown} running`).sort());
    assert.match(await world.isleOk('ps'), /ISOLATION/);
    for (const name of names) assert.match(await world.docker.ok('ps', '--filter', `name=^${name}$`), /Up /);
    await each(async (name, { flags }) => {
      if (flags[0] !== '--runtime') return;
      assert.equal(
        await world.docker.ok('ps', '--filter', `runtime=${flags[1]}`, '--format', '{{.Names}}'),
        name,
      );
      assert.equal(await world.inspect(name, '{{.HostConfig.Runtime}}'), flags[1]);
    });
  });

  test('stats know what each uses, and its limits', async () => {
    const format = '{{.Name}}|{{.MemUsage}}|{{.CPUPerc}}|{{.PIDs}}|{{.NetIO}}';
    for (const table of [
      await world.docker.ok('stats', '--no-stream', '--format', format),
      await world.isleOk('stats', '--no-stream', '--format', format),
    ]) {
      const rows = new Map(table.split('\n').map((line) => [line.split('|')[0], line]));
      for (const name of names) {
        const [, memory = '', cpu = '', processes = '', network = ''] = rows.get(name)?.split('|') ?? [];
        assert.match(memory, /^[1-9][\d.]*[KMG]i?B \/ (256MiB|2\d\d(\.\d+)?MiB)$/, `${name}: ${memory}`);
        assert.match(cpu, /^[\d.]+%$/);
        assert.ok(Number(processes) >= 2, `${name} has ${processes} processes`);
        assert.match(network, /^[1-9]/, `${name}: ${network}`);
      }
    }
  });

  test('logs are what each said', async () => {
    await each(async (name) => {
      assert.match(await world.docker.ok('logs', name), new RegExp(`serving as ${name}`));
      assert.match(await world.isleOk('logs', '--timestamps', name), /^20\S+ serving as/m);
    });
  });

  test('exec passes input, output, errors, environment and the exit code', async () => {
    await each(async (name) => {
      const script = 'cat; echo $WORD $PWD; echo wrong >&2; exit 5';
      const words = ['exec', '-i', '-e', 'WORD=said', '-w', '/srv', name, 'sh', '-c', script];
      const expected = { code: 5, stdout: 'typed\nsaid /srv\n', stderr: 'wrong\n' };
      assert.deepEqual(await world.docker.run(words, 'typed\n'), expected, name);
      const missing = await world.docker.run(['exec', name, 'no-such-thing']);
      assert.equal(missing.code, 127, `${name}: ${missing.stderr}`);
      const user = await world.inside(name, 'id', '-u');
      assert.equal(user, '0');
      assert.equal(await world.docker.ok('exec', '-u', 'isle', name, 'id', '-u'), '1000');
    });
  });

  test('exec -it is a terminal, from both clients', async () => {
    for (const { name } of isolations) {
      const docker = world.docker.terminal(['exec', '-it', name, 'sh']);
      docker.type('tty && echo $((6*7))\n');
      await docker.see(/\/dev\/(pts\/\d+|console|tty\S*)\s[\s\S]*42/);
      docker.type('exit 3\n');
      assert.equal(await docker.end(), 3);
      await using own = new Terminal(world.daemon.host, ['exec', '-it', name, 'sh']);
      own.type('echo $((6*7))\n');
      await own.until(/^42\s/m);
      own.resize(33, 99);
      own.type('stty size\n');
      await own.until(/33 99/);
      own.type('exit 4\n');
      assert.equal(await own.code(), 4);
    }
  });

  test('cp goes both ways, and what is copied belongs to root inside', async () => {
    await each(async (name) => {
      await world.docker.ok('cp', import.meta.filename, `${name}:/srv/copied`);
      assert.equal(await world.inside(name, 'stat', '-c', '%U', '/srv/copied'), 'root');
      assert.match(await world.inside(name, 'head', '-n', '1', '/srv/copied'), /^import assert/);
      await world.inside(name, 'sh', '-c', `echo from ${name} > /srv/written`);
      const { stdout } = await world.docker.run(['cp', `${name}:/srv/written`, '-']);
      assert.match(stdout, new RegExp(`from ${name}`));
      assert.match(await world.docker.ok('diff', name), /^A \/srv\/written$/m);
    });
  });

  test('a volume is one and the same for all of them', async () => {
    for (const name of names) await world.inside(name, 'sh', '-c', `echo ${name} >> /shared/names`);
    for (const name of names)
      assert.deepEqual((await world.inside(name, 'cat', '/shared/names')).split('\n'), names, name);
    for (const name of names)
      assert.equal(await world.inside(name, 'stat', '-c', '%u', '/shared/names'), '0', name);
  });

  test('health checks run inside', async () => {
    await each((name) =>
      world.until(
        `${name} is healthy`,
        async () => (await world.inspect(name, '{{.State.Health.Status}}')) === 'healthy',
      ),
    );
  });

  test('top lists the processes inside', async () => {
    await each(async (name) => {
      assert.match(await world.docker.ok('top', name), /httpd/, name);
      assert.match(await world.isleOk('top', name), /httpd/, name);
    });
  });

  test('a paused one does not answer, and goes on when it is resumed', async () => {
    for (const name of names) {
      await world.docker.ok('pause', name);
      assert.equal(await world.inspect(name, '{{.State.Status}}'), 'paused');
      await assert.rejects(fetchText(await portOf(name), 700));
      await world.docker.ok('unpause', name);
      const port = await portOf(name);
      await world.until(`${name} answers again`, async () => (await fetchText(port)) === name);
    }
  });

  test('a killed daemon is not noticed', async () => {
    for (const name of names) pids.set(name, await world.inspect(name, '{{.State.Pid}}'));
    const ports = new Map<string, string>();
    for (const name of names) ports.set(name, await portOf(name));
    await world.daemon.kill9();
    await each(async (name) => assert.equal(await fetchText(ports.get(name)!), name));
    await world.daemon.start();
    await each(async (name) => {
      assert.equal(await world.inspect(name, '{{.State.Pid}} {{.RestartCount}}'), `${pids.get(name)} 0`);
      assert.equal(await portOf(name), ports.get(name));
      assert.equal(await fetchText(ports.get(name)!), name);
    });
    await everybodyReachesEverybody();
  });

  test('stop lets each go in order', async () => {
    await each(async (name, { stopped }) => {
      await world.docker.ok('stop', '-t', '60', name);
      assert.equal(
        await world.inspect(name, '{{.State.Status}} {{.State.ExitCode}} {{.State.Error}}'),
        `exited ${stopped}`,
        name,
      );
      assert.match(await world.docker.ok('logs', name), /going/, name);
    });
  });

  test('what was written is there at the next start, and a restart does the same', async () => {
    await each(async (name) => {
      await world.docker.ok('start', name);
      await world.until(`${name} serves again`, async () => (await fetchText(await portOf(name))) === name);
      assert.equal(await world.inside(name, 'cat', '/srv/written'), `from ${name}`);
      await world.docker.ok('restart', '-t', '60', name);
      await world.until(`${name} is back`, async () => (await fetchText(await portOf(name))) === name);
    });
    await everybodyReachesEverybody();
  });

  test('kill ends each with its signal', async () => {
    await each(async (name) => {
      await world.docker.ok('kill', name);
      assert.equal(await world.inspect(name, '{{.State.Status}} {{.State.ExitCode}}'), 'exited 137', name);
    });
  });

  test('commit makes an image that has what was written', async () => {
    await each(async (name, { flags }) => {
      await world.docker.ok('commit', name, `kept-${name}`);
      const words = ['run', '--rm', ...flags, `kept-${name}`, 'cat', '/srv/written'];
      assert.equal(await world.docker.ok(...words), `from ${name}`);
    });
  });

  test('the restart policy starts a failing one again, and gives up in the end', async () => {
    await each(async (name, { flags }) => {
      const policy = ['--name', `failing-${name}`, '--restart', 'on-failure:2', ...flags];
      const words = ['run', '-d', ...policy, 'app', 'sh', '-c', 'echo once; exit 3'];
      await world.isleOk(...words);
      const state = '{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}';
      await world.until(
        `${name} has given up`,
        async () => (await world.inspect(`failing-${name}`, state)) === 'exited 3 2',
      );
      assert.equal(await world.docker.ok('logs', `failing-${name}`), 'once\nonce\nonce');
    });
  });

  test('events tell the same story of all', async () => {
    const until = `${Math.ceil(Date.now() / 1000)}`;
    await each(async (name) => {
      const filters = ['--filter', `container=${name}`, '--filter', 'type=container'];
      const story = (
        await world.docker.ok(
          'events',
          '--since',
          '1h',
          '--until',
          until,
          ...filters,
          '--format',
          '{{.Action}}',
        )
      ).split('\n');
      const seen = story.filter((action) => !/^(exec|health|top|archive|extract|resize)/.test(action));
      assert.deepEqual(
        seen,
        [
          ...['create', 'start', 'pause', 'unpause', 'kill', 'die', 'stop', 'start'],
          ...['kill', 'die', 'start', 'restart', 'kill', 'die', 'commit'],
        ],
        name,
      );
      assert.ok(story.includes('health_status: healthy'), name);
      assert.ok(
        story.some((action) => action.startsWith('exec_start')),
        name,
      );
    });
  });

  test('run --rm gives output and exit code, and leaves nothing', async () => {
    await each(async (_, { flags }) => {
      const words = ['run', '--rm', '-i', ...flags, 'app', 'sh', '-c', 'cat; exit 6'];
      const got = await world.docker.run(words, 'in\n');
      assert.deepEqual([got.code, got.stdout], [6, 'in\n'], got.stderr);
    });
    for (const name of names) await world.docker.ok('rm', '-f', name, `failing-${name}`);
    assert.equal(await world.docker.ok('ps', '-aq'), '');
    await world.docker.ok('network', 'rm', 'town');
  });
});

function fetchText(port: string, timeout = 5000): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const request = get(
    { host: '127.0.0.1', port, path: '/cgi-bin/name', agent: false, timeout },
    (response) => {
      text(response).then((body) => resolve(body.trim()), reject);
    },
  );
  request.on('timeout', () => request.destroy(new Error(`no answer on port ${port}`)));
  request.on('error', reject);
  return promise;
}
