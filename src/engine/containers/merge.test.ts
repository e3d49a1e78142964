import assert from 'node:assert/strict';
import { test } from 'node:test';
import { specOf } from '../../../test/fixtures/fake-engine.ts';
import type { ImageConfig } from '../../images/images.ts';
import type { ContainerSpec } from '../model.ts';
import { mergeImage } from './merge.ts';

const image: ImageConfig = {
  user: 'app',
  env: ['PATH=/app/bin', 'MODE=image'],
  entrypoint: ['/entry'],
  command: ['serve'],
  workingDir: '/srv',
  labels: { from: 'image', both: 'image' },
  exposedPorts: ['80/tcp', '53/udp', '9000-9001', 'nonsense', '70000/tcp'],
  volumes: [],
  stopSignal: 'SIGQUIT',
  healthcheck: { test: ['CMD', 'probe'], interval: 5e9, retries: 7 },
};

const merge = (more: Partial<ContainerSpec>) =>
  mergeImage({ ...specOf([]), command: undefined, ...more }, image, 'host1');
const argv = (more: Partial<ContainerSpec>) => {
  const { process } = merge(more);
  return [process.path, ...process.args];
};

test('entrypoint and command follow the rules of Docker', () => {
  assert.deepEqual(argv({}), ['/entry', 'serve']);
  assert.deepEqual(argv({ command: ['x', 'y'] }), ['/entry', 'x', 'y']);
  assert.deepEqual(
    argv({ entrypoint: ['/mine'] }),
    ['/mine'],
    'an entrypoint drops the command of the image',
  );
  assert.deepEqual(argv({ entrypoint: ['/mine'], command: ['a'] }), ['/mine', 'a']);
  assert.deepEqual(
    argv({ entrypoint: [''], command: ['a'] }),
    ['a'],
    'an empty one resets that of the image',
  );
  assert.throws(() => argv({ entrypoint: [''] }), /no command specified/);
});

test('variables of the spec win, and an entry without = takes a default away', () => {
  const { process } = merge({ env: ['MODE=mine', 'NEW=1', 'HOSTNAME'], tty: true });
  assert.deepEqual(process.env, ['PATH=/app/bin', 'TERM=xterm', 'MODE=mine', 'NEW=1']);
});

test('what the spec leaves open comes from the image', () => {
  const merged = merge({ labels: { both: 'mine' } });
  assert.equal(merged.process.user, 'app');
  assert.equal(merged.process.cwd, '/srv');
  assert.equal(merged.stopSignal, 'SIGQUIT');
  assert.deepEqual(merged.labels, { from: 'image', both: 'mine' });
  assert.deepEqual(
    merged.exposedPorts.map(({ port, protocol }) => `${port}/${protocol}`),
    ['80/tcp', '53/udp', '9000/tcp', '9001/tcp'],
  );
  assert.equal(merge({ user: 'root' }).process.user, 'root');
});

test('a health check is inherited field by field, and NONE takes it away', () => {
  assert.deepEqual(merge({}).healthcheck, image.healthcheck);
  assert.deepEqual(merge({ healthcheck: { test: [], retries: 2 } }).healthcheck, {
    ...image.healthcheck,
    retries: 2,
  });
  assert.equal(merge({ healthcheck: { test: ['NONE'] } }).healthcheck, undefined);
  assert.deepEqual(merge({ healthcheck: { test: ['CMD-SHELL', 'x'] } }).healthcheck?.test, [
    'CMD-SHELL',
    'x',
  ]);
});
