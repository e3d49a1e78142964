/** Pull and unpack of a large image from a registry on loopback, on every engine. */
import { spawnSync } from 'node:child_process';
import { largeImage, pushLarge } from '../test/fixtures/large-image.ts';
import type { TestRegistry } from '../test/fixtures/registry.ts';
import type { BenchEngine } from './engines.ts';
import { timeCommand } from './measure.ts';

/** Milliseconds of each pull, by engine; the image and what nothing else uses are removed between rounds. */
export async function timePulls(
  registry: TestRegistry,
  engines: BenchEngine[],
  rounds: number,
  cache: string,
): Promise<Map<string, number[]>> {
  const times = new Map(engines.map(({ name }) => [name, [] as number[]]));
  const image = `${registry.host}/bench/large:1`;
  await pushLarge(registry, 'bench/large:1', await largeImage(cache));
  for (let round = 0; round < rounds; round++) {
    for (const engine of engines) {
      const env = { ...process.env, DOCKER_HOST: `unix://${engine.socket}` };
      // What an earlier round wrote must not be flushed on this one's time.
      spawnSync('sync');
      times.get(engine.name)!.push(await timeCommand(['docker', 'pull', '-q', image], env));
      spawnSync('docker', ['rmi', '-f', image], { env });
    }
  }
  return times;
}
