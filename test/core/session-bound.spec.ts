import { expect, it } from '@jest/globals';
import { LockError } from '../../lib/lock.errors.js';
import { errorOf, startCore } from './core-fixture.js';
import { ManualClock } from './manual-clock.js';
import { ScriptedStore } from './scripted-store.js';

/** A store whose locks last until their connection closes, so they need no ttl. */
class SessionStore extends ScriptedStore {
  readonly sessionBound = true;
}

const start = (): ReturnType<typeof startCore> => {
  const clock = new ManualClock();
  return startCore({}, { clock, store: new SessionStore(clock) });
};

it('B57 the ttl of a session lock cannot be set', async () => {
  const { service, store } = await start();
  const lock = await service.acquire('key');
  const error = await errorOf(lock.extend(5_000));
  expect(error).toBeInstanceOf(LockError);
  expect(error.message).toContain('The ttl of lock "key" cannot be set: session locks last as long as');
  expect(store.count('renew')).toBe(0);
  await lock.extend();
  expect(store.count('renew')).toBe(1);
  expect(lock.held).toBe(true);
});

it('B80 a session lock cannot be handed off', async () => {
  const { service } = await start();
  const lock = await service.acquire('key');
  expect((await errorOf(lock.handOff())).message).toContain('Lock "key" cannot be handed off: session locks');
  expect(lock.held).toBe(true);
});
