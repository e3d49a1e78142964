import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import fc from 'fast-check';
import { difference, files } from '../../../test/fixtures/record-docker-run-bodies.ts';
import { parseArguments } from '../parse.ts';
import { toCreateBody } from './config.ts';
import { containerFlags } from './flags.ts';
import { foreground } from '../commands/run.ts';
import { boolean, booleanOn, text } from '../flags.ts';

type Json = Record<string, unknown>;
interface Recorded {
  argv: string[];
  query?: string;
  changes?: Json;
  error?: string;
}

const fixture = new URL('../../../test/fixtures/docker-run-bodies.jsonl', import.meta.url);
const [base = {} as Json & Recorded, ...cases] = readFileSync(fixture, 'utf8')
  .trimEnd()
  .split('\n')
  .map((line) => JSON.parse(line) as Json & Recorded);

const runFlags = {
  ...containerFlags,
  detach: boolean('', { short: 'd' }),
  'sig-proxy': booleanOn(''),
  'detach-keys': text(''),
};

function bodyOf(argv: string[]): Json {
  const run = argv[0] === 'run';
  const { args, flags } = parseArguments(
    argv.slice(1),
    run ? runFlags : (containerFlags as typeof runFlags),
    {
      interspersed: false,
    },
  );
  const [image, ...command] = args;
  if (image === undefined) throw new Error('needs an image');
  const body = toCreateBody(flags, image, command);
  return JSON.parse(JSON.stringify(run ? foreground(body, flags) : body)) as Json;
}

/** Go sends every field; an empty one means the same as none. The exceptions mean something when empty. */
function withoutEmpty(value: unknown, key = ''): unknown {
  if (['Init', 'MaskedPaths', 'ReadonlyPaths', 'StopTimeout'].includes(key)) return value ?? undefined;
  if (value === null || value === '' || value === 0 || value === false) return undefined;
  // Set by the terminal that the client runs on, not by a flag.
  if (key === 'ConsoleSize') return undefined;
  if (key === 'MemorySwappiness' && value === -1) return undefined;
  if (key === 'Entrypoint' || key === 'Cmd') return value;
  if (typeof value !== 'object') return value;
  // The stock client keeps these in a map, whose order Go shuffles.
  if (key === 'Env' || key === 'Binds') return (value as string[]).toSorted();
  if (Array.isArray(value))
    return value.length === 0 ? undefined : value.map((one) => withoutEmpty(one) ?? one);
  const entries = Object.entries(value)
    .map(([name, one]) => [name, withoutEmpty(one, name)] as const)
    .filter(([, one]) => one !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

describe('the body that docker run and docker create send', () => {
  const home = process.cwd();
  let work = '';
  before(() => {
    work = mkdtempSync(join(tmpdir(), 'isle-cli-'));
    for (const [name, content] of Object.entries(files)) writeFileSync(join(work, name), content);
    process.chdir(work);
    process.env.ISLE_FIXTURE = 'from-env';
  });
  after(() => {
    process.chdir(home);
    rmSync(work, { recursive: true });
  });

  test('was recorded', () => assert.ok(cases.length > 150));

  for (const { argv, changes, error } of cases) {
    test(`isle ${argv.join(' ')}`, () => {
      if (changes === undefined) {
        // References are the daemon's to judge.
        if (error?.includes('invalid reference format')) return;
        assert.throws(() => bodyOf(argv), Error, error);
        return;
      }
      const wanted = {
        ...base,
        ...changes,
        HostConfig: { ...(base.HostConfig as Json), ...(changes.HostConfig as Json) },
      };
      const text = JSON.stringify(withoutEmpty(wanted)).replaceAll('@CWD@', work);
      assert.deepEqual(withoutEmpty(bodyOf(argv)), JSON.parse(text));
    });
  }

  test('a user namespace that is none is refused with those that are', () => {
    for (const mode of ['keep-id', 'auto:size=', 'auto:uids=3'])
      assert.throws(() => bodyOf(['create', '--userns', mode, 'busybox']), /--userns: .*auto:size=N.* host/);
  });

  test('any values of any flags give a body or a failure in one line', () => {
    const names = Object.keys(containerFlags).filter(
      (name) => !['env-file', 'label-file', 'security-opt'].includes(name),
    );
    const piece = fc.constantFrom(
      ':',
      ',',
      '=',
      '/',
      '80',
      '-',
      '[',
      ']',
      '::1',
      'tcp',
      'type',
      'bind',
      'src',
      'dst',
      '"',
      'a',
    );
    const value = fc.oneof(
      fc.string(),
      fc.array(piece, { maxLength: 8 }).map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom(...names), value), { maxLength: 5 }), (given) => {
        const argv = ['create', ...given.map(([name, one]) => `--${name}=${one}`), 'busybox'];
        try {
          JSON.stringify(bodyOf(argv));
        } catch (error) {
          assert.equal((error as Error).name, 'Failure', String((error as Error).stack));
        }
      }),
      { numRuns: 2000 },
    );
  });

  test('differs only in what was asked', () => {
    assert.deepEqual(difference({ a: 1, HostConfig: { b: 2, c: 3 } }, { a: 1, HostConfig: { b: 2, c: 4 } }), {
      HostConfig: { c: 3 },
    });
  });
});
