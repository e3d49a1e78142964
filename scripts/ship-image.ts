/** Writes the image that ships with Isle: `ship-image.ts dist/shipped-image.tar`. Made from the host's busybox-static. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { shippedImage } from '../src/images/archive/shipped.ts';

const busybox = process.env.ISLE_BUSYBOX ?? '/bin/busybox';
const target = process.argv[2];
if (!target) {
  console.error('usage: ship-image.ts TARGET');
  process.exit(2);
}
const architectures: Record<string, string> = { x64: 'amd64', arm64: 'arm64' };
const image = shippedImage({
  busybox: readFileSync(busybox),
  applets: execFileSync(busybox, ['--list'], { encoding: 'utf8' }).trim().split('\n'),
  architecture: architectures[process.arch] ?? process.arch,
  time: Math.floor(statSync(busybox).mtimeMs / 1000),
});
mkdirSync(dirname(target), { recursive: true });
writeFileSync(`${target}.new`, image);
renameSync(`${target}.new`, target);
