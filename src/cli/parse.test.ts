import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { boolean, bytes, choice, commaList, integer, list, maybeBoolean, text } from './flags.ts';
import { parseArguments } from './parse.ts';

const table = {
  all: boolean('', { short: 'a' }),
  env: list('', { short: 'e' }),
  init: maybeBoolean(''),
  interactive: boolean('', { short: 'i' }),
  kind: choice(['one', 'two'], ''),
  memory: bytes('', { short: 'm' }),
  name: text('', { aliases: ['called'] }),
  number: integer('', { short: 'n' }),
  subnet: commaList(''),
  tty: boolean('', { short: 't' }),
};
const parse = (...argv: string[]) => parseArguments(argv, table, { interspersed: true });

test('flags are read as pflag reads them', () => {
  assert.equal(parse('--memory=1k').flags.memory, 1024);
  assert.equal(parse('--memory', '1k').flags.memory, 1024);
  assert.equal(parse('-m1k').flags.memory, 1024);
  assert.equal(parse('-m=1k').flags.memory, 1024);
  assert.equal(parse('-aitm', '1k').flags.memory, 1024);
  assert.deepEqual(parse('-it').flags, { ...parse().flags, interactive: true, tty: true });
  assert.equal(parse('--all=false').flags.all, false);
  assert.equal(parse('--called', 'x').flags.name, 'x');
  assert.deepEqual(parse('-e', 'A=1', '--env=B=2').flags.env, ['A=1', 'B=2']);
  assert.deepEqual(parse('--subnet', 'a,b', '--subnet', 'c').flags.subnet, ['a', 'b', 'c']);
  assert.equal(parse('--number', '-1').flags.number, -1);
});

test('a boolean never takes the next word', () => {
  const { flags, args } = parse('--all', 'false');
  assert.equal(flags.all, true);
  assert.deepEqual(args, ['false']);
});

test('what was not given can be told from what was given as empty', () => {
  assert.equal(parse().flags.init, undefined);
  assert.equal(parse('--init=false').flags.init, false);
  assert.equal(parse('--name', '').flags.name, '');
  assert.deepEqual([...parse('--name', '').given], ['name']);
});

test('flags may stand among arguments, or end at the first one', () => {
  assert.deepEqual(parse('x', '-a', 'y').args, ['x', 'y']);
  const { args, flags } = parseArguments(['x', '-a', 'y'], table, { interspersed: false });
  assert.deepEqual(args, ['x', '-a', 'y']);
  assert.equal(flags.all, false);
  assert.deepEqual(parse('--', '-a').args, ['-a']);
});

test('help is asked for by --help, and by -h where the command has no such flag', () => {
  assert.equal(parse('--help').help, true);
  assert.equal(parse('-h').help, true);
  const host = parseArguments(['-h', 'x'], { hostname: text('', { short: 'h' }) }, { interspersed: true });
  assert.equal(host.help, false);
  assert.equal(host.flags.hostname, 'x');
});

test('mistakes name the flag, and the one that was meant', () => {
  const failure =
    (message: RegExp, hint?: string) => (error: Error & { hint?: string; exitCode?: number }) => {
      assert.match(error.message, message);
      assert.equal(error.hint, hint);
      assert.equal(error.exitCode, 125);
      return true;
    };
  assert.throws(() => parse('--memry', '1'), failure(/^unknown flag: --memry$/, 'did you mean --memory?'));
  assert.throws(() => parse('-z'), failure(/^unknown shorthand flag: 'z' in -z$/));
  assert.throws(() => parse('--memory'), failure(/^flag needs an argument: --memory$/));
  assert.throws(() => parse('-m', 'lots'), failure(/^invalid argument "lots" for "-m, --memory" flag: /));
  assert.throws(() => parse('--all=maybe'), failure(/not true or false: maybe/));
  assert.throws(() => parse('--kind', 'three'), failure(/must be one of "one", "two"/));
  assert.throws(() => parse('-n', '1.5'), failure(/not a whole number/));
});

test('any words give a result or a failure with an exit code', () => {
  const word = fc.oneof(
    fc.string(),
    fc.constantFrom(
      '--',
      '-',
      '--all',
      '-it',
      '-m',
      '--memory=5',
      '--name',
      '--constructor',
      '--__proto__=1',
    ),
  );
  fc.assert(
    fc.property(fc.array(word), (argv) => {
      try {
        parse(...argv);
      } catch (error) {
        assert.equal((error as { exitCode?: number }).exitCode, 125);
      }
    }),
  );
});

test('what a list was given comes out in order, however it is spelled', () => {
  const value = fc.string({ minLength: 1 }).filter((given) => !given.startsWith('='));
  fc.assert(
    fc.property(fc.array(fc.tuple(value, fc.nat(3))), (given) => {
      const argv = given.flatMap(([one, how]) =>
        how === 0 ? ['--env', one] : how === 1 ? [`--env=${one}`] : how === 2 ? ['-e', one] : [`-e${one}`],
      );
      assert.deepEqual(
        parse(...argv).flags.env,
        given.map(([one]) => one),
      );
    }),
  );
});
