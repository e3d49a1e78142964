import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { Client } from '../client/client.ts';
import { isleRoot } from '../root.ts';
import { candidates } from './candidates.ts';
import { completionScripts } from './scripts.ts';

const client = new Client({ socketPath: '/nonexistent/docker.sock' });
const offered = async (...words: string[]) =>
  (await candidates(client, words)).map((line) => line.split('\t')[0]);

test('the packaged scripts are those that isle completion prints', () => {
  const folder = join(isleRoot(), 'packaging/completions');
  for (const [shell, name] of [
    ['bash', 'isle.bash'],
    ['zsh', '_isle'],
    ['fish', 'isle.fish'],
  ] as const)
    assert.equal(readFileSync(join(folder, name), 'utf8'), completionScripts[shell], name);
});

test('commands, second words, flags and fixed values are offered', async () => {
  assert.deepEqual(await offered('re'), ['rename', 'restart']);
  assert.deepEqual(await offered('volume', 'c'), ['create']);
  assert.deepEqual(await offered('stop', '--t'), ['--timeout']);
  assert.deepEqual(await offered('run', '--pull', ''), ['always', 'missing', 'never']);
  assert.deepEqual(await offered('completion', 'f'), ['fish']);
  assert.deepEqual(await offered('save', '-o', 'x'), [':file']);
  assert.deepEqual(await offered('help', 'ver'), ['version']);
  assert.ok((await offered('')).includes('run'));
  assert.ok(!(await offered('')).includes('__complete'));
});

test('after the image of run, flags are no longer ours', async () => {
  assert.deepEqual(await offered('run', '-it', 'busybox', '--'), []);
  assert.deepEqual(await offered('run', '--', '--'), []);
});

test('no engine, no names, no error', async () => {
  assert.deepEqual(await offered('stop', ''), []);
  assert.deepEqual(await offered('nosuch', ''), []);
});
