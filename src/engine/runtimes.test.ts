import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeRuntime, fakeWorld } from '../../test/fixtures/fake-runtime.ts';
import { isleError } from '../lib/errors.ts';
import { silentLog } from '../lib/log.ts';
import { Runtimes } from './runtimes.ts';

test('a runtime is made once, however many ask for it at once', async () => {
  let made = 0;
  const open = async () => {
    made++;
    return fakeRuntime(fakeWorld());
  };
  const runtimes = await Runtimes.open({ usual: { path: '', open } }, 'usual', silentLog());
  assert.equal(made, 1);
  await runtimes.close();
});

test('one that could not be made is tried again by the next who asks, and by all of them together', async () => {
  let tries = 0;
  const runtimes = await Runtimes.open(
    {
      usual: { path: '', open: async () => fakeRuntime(fakeWorld()) },
      late: {
        path: '',
        async open() {
          if (tries++ === 0) throw isleError('unavailable', { message: 'not yet' });
          return fakeRuntime(fakeWorld());
        },
      },
    },
    'usual',
    silentLog(),
  );
  assert.match(String(runtimes.why('late')), /not yet/);
  const [one, other] = await Promise.all([runtimes.require('late'), runtimes.require('late')]);
  assert.equal(one, other);
  assert.equal(tries, 2);
  await runtimes.close();
});
