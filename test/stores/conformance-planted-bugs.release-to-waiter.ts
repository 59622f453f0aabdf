import { setImmediate as nextTurn } from 'node:timers/promises';
import type { WaiterRelease } from '../../lib/interfaces/lock-store.interface.js';
import type { PlantedBug, Port, RightStore } from './conformance-planted-bugs.js';

const HOUR = 3_600_000;
const HELD = { acquired: false, reason: 'held' } as const;

type PassOn = WaiterRelease['releaseToWaiter'];

export const releasingToWaiters: PlantedBug[] = [
  {
    name: 'a release to a waiter does not record the label of the waiter',
    plant: (right) => ({
      releaseToWaiter: (key, owner, { owner: next, ttl }, end) =>
        right.releaseToWaiter(key, owner, { owner: next, ttl }, end),
    }),
    foundBy: 'B23 a waiter gets the lock with a larger token, and with its own label and ttl',
  },
  {
    name: 'a lock is released to a waiter with its token',
    plant: (right) => {
      const tokens = new Map<string, number>();
      return {
        async acquire(key, ...rest) {
          const result = await right.acquire(key, ...rest);
          if (result.acquired) tokens.set(key, result.fencingToken);
          return result;
        },
        async releaseToWaiter(key, ...rest) {
          const result = await right.releaseToWaiter(key, ...rest);
          return result.acquired ? { acquired: true, fencingToken: tokens.get(key) ?? 0 } : result;
        },
      };
    },
    foundBy: 'B23 a waiter gets the lock with a larger token, and with its own label and ttl',
  },
  {
    name: 'the old owner may renew for the waiter',
    plant: (right) => {
      const heirs = new Map<string, string>();
      return {
        async releaseToWaiter(key, owner, next, end) {
          heirs.set(owner, next.owner);
          return right.releaseToWaiter(key, owner, next, end);
        },
        renew: (key, owner, ttl) => right.renew(key, heirs.get(owner) ?? owner, ttl),
      };
    },
    foundBy: 'B23 a lock that was released to a waiter belongs only to the new owner',
  },
  {
    name: 'a waiter gets an expiry although its lock never expires',
    plant: (right) => releasingAs(right, (next) => ({ ...next, ttl: Math.min(next.ttl, 9999 * HOUR) })),
    foundBy: 'B23 a lock that never expires can be released to a waiter, and a waiter can get such a lock',
  },
  {
    name: 'an expired lease is released to a waiter',
    plant: (right) => ({
      async releaseToWaiter(key, owner, next, end) {
        const revived = right.owners.get(key) === owner && (await right.isExpired(key));
        return revived
          ? right.acquire(key, next.owner, next.ttl, next)
          : right.releaseToWaiter(key, owner, next, end);
      },
    }),
    foundBy: 'B23 an expired lease is not released to a waiter',
  },
  {
    name: 'a release to a waiter ignores the owner',
    plant: (right) => ({
      releaseToWaiter: (key, owner, next, end) =>
        right.releaseToWaiter(key, right.owners.get(key) ?? owner, next, end),
    }),
    foundBy: 'B23 only the owner releases a lock to a waiter, and only while the owner holds it',
  },
  {
    name: 'a free key is released to a waiter',
    plant: (right) => ({
      async releaseToWaiter(key, owner, next, end) {
        const { state } = await right.inspect(key);
        return state === 'free'
          ? right.acquire(key, next.owner, next.ttl, next)
          : right.releaseToWaiter(key, owner, next, end);
      },
    }),
    foundBy: 'B23 only the owner releases a lock to a waiter, and only while the owner holds it',
  },
  {
    name: 'a repeated release to a waiter grants twice',
    plant: (right) => ({
      async releaseToWaiter(key, owner, next, end) {
        const result = await right.releaseToWaiter(key, owner, next, end);
        const again = !result.acquired && right.owners.get(key) === next.owner;
        return again ? right.acquire(key, next.owner, next.ttl, { resend: true }) : result;
      },
    }),
    foundBy: 'B23 a release to a waiter that the store carries out twice changes nothing the second time',
  },
  {
    name: 'the repeated request of a waiter is not recognized',
    plant: (right) => {
      const passed = new Set<string>();
      return {
        async releaseToWaiter(key, owner, next, end) {
          passed.add(next.owner);
          return right.releaseToWaiter(key, owner, next, end);
        },
        acquire: (key, owner, ttl, request) =>
          right.acquire(key, owner, ttl, { ...request, resend: request?.resend && !passed.has(owner) }),
      };
    },
    foundBy: 'B23 resend: a waiter that did not learn of its grant gets the lock again, with the same token',
  },
  {
    name: 'a release to a waiter reads first and writes later',
    plant: (right) => ({
      async releaseToWaiter(key, owner, next, end) {
        const mine = right.owners.get(key) === owner;
        await nextTurn();
        if (!mine) return HELD;
        return right.releaseToWaiter(key, right.owners.get(key) ?? owner, next, end);
      },
    }),
    foundBy: 'B23 if a lock is released to many waiters at the same time, at most one of them gets it',
  },
  {
    name: 'a release to a waiter is a release and an acquisition',
    plant: (right) => ({
      async releaseToWaiter(key, owner, next, end) {
        if (!(await right.release(key, owner, end))) return HELD;
        await nextTurn();
        return right.acquire(key, next.owner, next.ttl, next);
      },
    }),
    foundBy: 'B23 while a lock is released from waiter to waiter, no contender gets the key',
  },
  {
    name: 'every run that ends with a release to a waiter counts as done',
    plant: (right) => ({ releaseToWaiter: (key, owner, next) => right.releaseToWaiter(key, owner, next) }),
    foundBy: 'B23 an inspection shows the run that ended with a release to a waiter, with its outcome',
  },
  {
    name: 'a refused release to a waiter ends the run',
    plant: (right) => ({
      async releaseToWaiter(key, owner, next, end) {
        const result = await right.releaseToWaiter(key, owner, next, end);
        if (!result.acquired) await right.forceRelease(key);
        return result;
      },
    }),
    foundBy: 'B23 if a release to a waiter is refused, the recorded runs do not change',
  },
  {
    name: 'a paused key is released to a waiter',
    plant: (right) => ({
      async releaseToWaiter(key, owner, next, end) {
        const paused = await right.resume(key);
        const result = await right.releaseToWaiter(key, owner, next, end);
        if (paused) await right.pause(key);
        return result;
      },
    }),
    foundBy: 'B23 a paused key is not released to a waiter: its holder keeps it',
  },
  {
    name: 'a tick is forgotten when its lock is released to a waiter',
    plant: (right) => {
      const forgotten = new Set<string>();
      return {
        async releaseToWaiter(key, owner, next, end) {
          forgotten.add(key);
          return right.releaseToWaiter(key, owner, next, end);
        },
        acquire: (key, owner, ttl, { once, ...request } = {}) =>
          right.acquire(key, owner, ttl, forgotten.has(key) ? request : { ...request, once }),
      };
    },
    foundBy: 'B23 a tick stays done when its lock is released to a waiter',
  },
  {
    name: 'a lock is released to its own holder as a waiter',
    plant: (right) => ({
      async releaseToWaiter(key, owner, next, end) {
        if (owner !== next.owner) return right.releaseToWaiter(key, owner, next, end);
        return right.acquire(key, owner, next.ttl, { resend: true });
      },
    }),
    foundBy: 'B23 releaseToWaiter refuses an invalid key, owner or waiter before any statement is sent',
  },
];

function releasingAs(
  right: RightStore,
  read: (next: Parameters<PassOn>[2]) => Parameters<PassOn>[2],
): Partial<Port> {
  return { releaseToWaiter: (key, owner, next, end) => right.releaseToWaiter(key, owner, read(next), end) };
}
