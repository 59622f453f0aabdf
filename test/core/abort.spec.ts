import { getEventListeners } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import { LockNotAcquiredError } from '../../lib/lock.errors.js';
import { captureLog, startCore, watch } from './core-fixture.js';
import { microtasks, settle } from './manual-clock.js';
import { linkBroken } from './scripted-store.js';

captureLog();

const REASON = new Error('the caller has gone');
const listeners = ({ signal }: AbortController): number => getEventListeners(signal, 'abort').length;

describe('an AbortSignal', () => {
  it('B21 a signal that is aborted before the call sends nothing', async () => {
    const { service, store, clock } = await startCore();
    const signal = AbortSignal.abort(REASON);
    await expect(service.acquire('key', { signal })).rejects.toBe(REASON);
    await expect(service.tryAcquire('key', { signal, wait: Infinity })).rejects.toBe(REASON);
    await expect(service.tryRun('key', () => {}, { signal })).rejects.toBe(REASON);
    expect(store.calls).toEqual([]);
    expect(clock.timers).toEqual([]);
  });

  it('B21 an abort ends a wait at once and leaves no timer, listener, waiter or lock', async () => {
    const { service, store, clock } = await startCore();
    const other = await store.takenBy('other', 'key');
    const abort = new AbortController();
    const waiting = watch(service.run('key', () => {}, { wait: Infinity, signal: abort.signal }));
    await clock.advance(1000);
    expect(listeners(abort)).toBe(1);
    const sent = store.calls.length;
    abort.abort(REASON);
    await settle();
    expect(waiting).toMatchObject({ state: 'rejected', error: REASON });
    expect(listeners(abort)).toBe(0);
    expect(clock.timers).toEqual([]);
    await store.server.release('key', other);
    await clock.advance(60_000);
    expect(store.calls.length).toBe(sent);
  });

  it('B21 an abort ends the wait of a call that is queued behind another call', async () => {
    const { service, store, clock } = await startCore();
    await store.takenBy('other', 'key', 600_000);
    const first = watch(service.acquire('key', { wait: Infinity }));
    await clock.advance(10);
    const abort = new AbortController();
    const second = watch(service.acquire('key', { wait: 5000, signal: abort.signal }));
    await clock.advance(10);
    abort.abort(REASON);
    await settle();
    expect(second).toMatchObject({ state: 'rejected', error: REASON });
    expect(first.state).toBe('pending');
    expect(clock.timers).toHaveLength(1);
    expect(listeners(abort)).toBe(0);
  });

  it('B21 after the first call of a queue is aborted, the second call gets the lock', async () => {
    const { service, store, clock } = await startCore({ retry: 60_000 });
    await store.takenBy('other', 'key', 600_000);
    const abort = new AbortController();
    void service.acquire('key', { wait: Infinity, signal: abort.signal }).catch(() => {});
    await clock.advance(10);
    const second = watch(service.acquire('key', { wait: Infinity, retry: 10 }));
    await store.server.forceRelease('key');
    abort.abort(REASON);
    await clock.advance(0);
    expect(second.state).toBe('resolved');
  });

  it('B21 a lock whose grant arrives after the abort is released', async () => {
    const { service, store, clock, names } = await startCore();
    const abort = new AbortController();
    store.next('acquire', { before: 100, after: 100 });
    const waiting = watch(service.acquire('key', { signal: abort.signal }));
    await clock.advance(50);
    abort.abort(REASON);
    await settle();
    expect(waiting).toMatchObject({ state: 'rejected', error: REASON });
    await clock.advance(149);
    expect(await store.held('key')).toBe(true);
    await clock.advance(1);
    expect(await store.held('key')).toBe(false);
    expect(names()).toEqual([]);
    expect(clock.timers).toEqual([]);
    expect(listeners(abort)).toBe(0);
  });

  it('B21 if the answer to an aborted acquisition never arrives, the lock it may have got is released', async () => {
    for (const fate of [{ after: 100, lose: 'answer' }, { hang: 'answer' }] as const) {
      const { service, store, clock } = await startCore({ ttl: Infinity });
      const abort = new AbortController();
      store.next('acquire', fate);
      const waiting = watch(service.acquire('key', { signal: abort.signal }));
      await clock.advance(50);
      abort.abort(REASON);
      await clock.advance(10_000);
      expect(waiting).toMatchObject({ state: 'rejected', error: REASON });
      expect(await store.held('key')).toBe(false);
      expect(clock.timers).toEqual([]);
    }
  });

  it('B21 an abort after a lost answer prevents the next attempt and releases a granted lock', async () => {
    const { service, store, clock } = await startCore();
    const abort = new AbortController();
    store.next('acquire', { lose: 'answer' });
    const waiting = watch(service.acquire('key', { signal: abort.signal }));
    await clock.advance(10);
    abort.abort(REASON);
    await settle();
    expect(waiting).toMatchObject({ state: 'rejected', error: REASON });
    expect(clock.timers).toEqual([]);
    await clock.advance(60_000);
    expect(store.calls.map(({ operation }) => operation)).toEqual(['acquire', 'release']);
    expect(await store.held('key')).toBe(false);
  });

  it('B21 an abort ends a wait during an outage', async () => {
    const { service, store, clock } = await startCore();
    store.always({ fail: linkBroken });
    const abort = new AbortController();
    const waiting = watch(service.acquire('key', { wait: Infinity, signal: abort.signal }));
    await clock.advance(12_345);
    abort.abort(REASON);
    await settle();
    expect(waiting).toMatchObject({ state: 'rejected', error: REASON });
    expect(clock.refTimers).toEqual([]);
    // This leaves time for the requests that release a lock whose grant may have got lost.
    await clock.advance(5_000);
    expect(clock.timers).toEqual([]);
  });

  it('B21 an aborted call rejects with the reason given to abort(), whatever its type', async () => {
    const { service, store } = await startCore();
    await store.takenBy('other', 'key');
    for (const reason of [null, 0, 'text']) {
      const abort = new AbortController();
      const waiting = watch(service.acquire('key', { wait: Infinity, signal: abort.signal }));
      await settle();
      abort.abort(reason);
      await settle();
      expect(waiting).toEqual({ state: 'rejected', error: reason });
    }
  });

  it('B21 whenever the abort comes, the key is held if and only if the caller got the lock', async () => {
    const outcomes = new Set<string>();
    for (const fate of [{}, { before: 5, after: 5 }, { lose: 'answer' }, { hang: 'answer' }] as const) {
      for (let turn = 0; turn < 40; turn++) {
        const { service, store, clock } = await startCore({ ttl: Infinity, autoRenew: false });
        store.next('acquire', fate);
        const abort = new AbortController();
        if ('before' in fate) clock.outside(10, () => void microtasks(turn).then(() => abort.abort(REASON)));
        const waiting = watch(service.acquire('key', { signal: abort.signal, wait: 1000 }));
        if (!('before' in fate)) {
          await microtasks(turn);
          abort.abort(REASON);
        }
        await clock.advance(60_000);
        expect(waiting.state).not.toBe('pending');
        const has = waiting.state === 'resolved';
        expect({ fate, turn, held: await store.held('key') }).toEqual({ fate, turn, held: has });
        expect(clock.timers).toEqual([]);
        outcomes.add(waiting.state);
      }
    }
    expect(outcomes).toEqual(new Set(['resolved', 'rejected']));
  });

  it('B21 an abort after the grant does not touch the lock', async () => {
    const { service } = await startCore();
    const abort = new AbortController();
    const lock = await service.acquire('key', { signal: abort.signal });
    expect(listeners(abort)).toBe(0);
    abort.abort(REASON);
    expect(lock.held).toBe(true);
    expect(lock.signal.aborted).toBe(false);
  });

  it('B21 a call removes its listener from the signal, however the call ends', async () => {
    const { service, store, clock } = await startCore();
    const abort = new AbortController();
    const options = { signal: abort.signal, wait: 100 };
    await store.takenBy('other', 'key');
    const busy = watch(service.acquire('key', options));
    await clock.advance(200);
    expect(busy.error).toBeInstanceOf(LockNotAcquiredError);
    expect(listeners(abort)).toBe(0);
    store.next('acquire', { fail: () => new Error('refused') });
    await service.acquire('other', options).catch(() => {});
    expect(listeners(abort)).toBe(0);
    await service.run('other', () => {}, options);
    expect(listeners(abort)).toBe(0);
  });
});
