import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commandHelp } from './help.ts';
import { aliases, commands, findCommand, firstWords, groups, secondWords } from './registry.ts';
import { painter } from './terminal/paint.ts';

const plain = painter(false);

for (const [name, entry] of Object.entries(commands)) {
  test(`isle ${name} loads, and its flags are told apart`, async () => {
    const { command } = await entry.load();
    const shorts = Object.values(command.flags).flatMap((flag) => flag.short ?? []);
    assert.equal(new Set(shorts).size, shorts.length, `a letter is used twice: ${shorts.join(' ')}`);
    const longs = Object.entries(command.flags).flatMap(([long, flag]) => [long, ...(flag.aliases ?? [])]);
    assert.equal(new Set(longs).size, longs.length);
    assert.ok(command.args[0] <= command.args[1]);
    if (entry.hidden) return;
    assert.ok(command.examples.length > 0, 'help begins with an example');
    const help = await commandHelp(name, plain);
    for (const [long, flag] of Object.entries(command.flags))
      if (!flag.hidden) assert.match(help, new RegExp(`--${long}\\b`));
  });

  test(`the examples of isle ${name} are calls of commands that exist`, async () => {
    const { command } = await entry.load();
    for (const { run } of command.examples) assert.ok(findCommand(run.split(' ')), run);
  });
}

test('every alias leads to a command, every group has some', () => {
  for (const [alias, name] of Object.entries(aliases))
    assert.ok(Object.hasOwn(commands, name), `${alias} → ${name}`);
  for (const group of Object.keys(groups)) assert.ok(secondWords(group).length > 3, group);
});

test('management forms mean the plain commands', () => {
  assert.equal(findCommand(['container', 'ls', '-a'])?.name, 'ps');
  assert.equal(findCommand(['image', 'rm', 'x'])?.name, 'rmi');
  assert.equal(findCommand(['info'])?.name, 'system info');
  assert.deepEqual(findCommand(['run', 'ls'])?.words, 1);
  assert.equal(findCommand(['constructor']), undefined);
  assert.ok(!firstWords().some((word) => word.startsWith('__')));
});
