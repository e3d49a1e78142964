import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { nativeCalls } from './native.ts';

const root = join(import.meta.dirname, '../..');

test('the addon compiles without a warning', () => {
  const headers = join(dirname(process.execPath), '../include/node');
  const sources = globSync('native/*.c', { cwd: root });
  assert.ok(sources.length > 5);
  const flags = ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror', '-fsyntax-only', '-isystem', headers];
  execFileSync('gcc', [...flags, ...sources], { cwd: root, stdio: 'pipe' });
});

test('a call that the addon lacks is named, with what to do', () => {
  assert.throws(() => nativeCalls<{ absent(): void }>()('absent'), /lacks absent: run scripts\/build-native/);
});
