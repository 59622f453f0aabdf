import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import type { AcquireRequest, RefusalReason } from '../../lib/interfaces/lock-store.interface.js';
import type { PlantedBug, Port, RightStore } from './conformance-planted-bugs.js';

/** Returns the request that a wrong store carries out instead of the caller's request. */
type Reading = (key: string, request: AcquireRequest) => Promise<AcquireRequest> | AcquireRequest;

const HOUR = 3_600_000;

export const stealing: PlantedBug[] = [
  {
    name: 'stealAfter is ignored',
    plant: (right) => requestsReadAs(right, (_, { stealAfter: _age, ...request }) => request),
    foundBy: 'B32 a lock that was not renewed for the time of stealAfter is stolen, with a larger token',
  },
  {
    name: 'a lock that never expires cannot be stolen',
    plant: (right) =>
      requestsReadAs(right, async (key, { stealAfter, ...request }) =>
        (await right.remaining(key)) === Infinity ? request : { ...request, stealAfter },
      ),
    foundBy: 'B32 even a lock that never expires is stolen, and the new holder gets a lease that ends',
  },
  {
    name: 'stealAfter steals a lock of any age',
    plant: (right) =>
      takingBefore(right, (key, { stealAfter }) => stealAfter !== undefined && right.forceRelease(key)),
    foundBy: 'B33 a lock that was granted less than stealAfter ago is not stolen',
  },
  {
    name: 'the age of a lock counts from its grant',
    plant: (right) =>
      takingBefore(right, async (key, { stealAfter = Infinity }) => {
        const found = await right.inspect(key);
        if (found.state === 'held' && Date.now() - found.holder.startedAt.getTime() >= stealAfter)
          await right.forceRelease(key);
      }),
    foundBy: 'B33 a lock that was renewed less than stealAfter ago is not stolen, however long it is held',
  },
  {
    name: 'a kept key can be stolen',
    plant: (right) =>
      takingBefore(right, async (key, { stealAfter = Infinity }) => {
        const found = await right.inspect(key);
        if (found.state === 'held' && Date.now() - found.holder.renewedAt.getTime() >= stealAfter)
          await right.forceRelease(key);
      }),
    foundBy: 'B33 a key that its release keeps taken is not stolen',
  },
  {
    name: 'stealAfter limits the ttl of the thief',
    plant: (right) => ({
      acquire: (key, owner, ttl, request) =>
        right.acquire(key, owner, Math.min(ttl, request?.stealAfter ?? ttl), request),
    }),
    foundBy:
      'B33 stealAfter affects only its own acquisition, neither later acquisitions nor the ttl of the lock',
  },
  {
    name: 'stealAfter also applies to the next acquisition',
    plant: (right) => {
      const ages = new Map<string, number | undefined>();
      return requestsReadAs(right, (key, request) => {
        const stealAfter = request.stealAfter ?? ages.get(key);
        ages.set(key, stealAfter);
        return { ...request, stealAfter };
      });
    },
    foundBy:
      'B33 stealAfter affects only its own acquisition, neither later acquisitions nor the ttl of the lock',
  },
  {
    name: 'stealAfter refuses a free key',
    plant: (right) => ({
      async acquire(key, owner, ttl, request) {
        const held = (await right.inspect(key)).state === 'held';
        return request?.stealAfter !== undefined && !held
          ? { acquired: false, reason: 'contention' }
          : right.acquire(key, owner, ttl, request);
      },
    }),
    foundBy: 'B33 stealAfter takes a key that is free or expired like any acquisition',
  },
  {
    name: 'a thief reads the age first and steals later',
    plant: (right) =>
      takingBefore(right, async (key, { stealAfter = Infinity }) => {
        const found = await right.inspect(key);
        const age = found.state === 'held' ? Date.now() - found.holder.renewedAt.getTime() : 0;
        await nextTurn();
        if (age >= stealAfter) await right.forceRelease(key);
      }),
    foundBy: 'B33 exactly one of many simultaneous attempts to steal a lock gets it',
  },
  {
    name: 'a repeated request of a thief is not recognized',
    plant: (right) =>
      requestsReadAs(right, (_, request) => ({ ...request, resend: request.resend && !request.stealAfter })),
    foundBy: 'B33 resend: an attempt that has stolen a lock gets the lock again, with the same token',
  },
  {
    name: 'the run of a stolen lock counts as done',
    plant: (right) =>
      takingBefore(right, async (key, { stealAfter = Infinity }) => {
        const found = await right.inspect(key);
        if (found.state === 'held' && Date.now() - found.holder.renewedAt.getTime() >= stealAfter)
          await right.release(key, right.owners.get(key) ?? '');
      }),
    foundBy: 'B32 the run of a stolen lock is recorded as failed, and as ended when the lock was stolen',
  },
  {
    name: 'the run of a stolen lock ends with its lease',
    plant: (right) => ({
      async inspect(key) {
        const found = await right.inspect(key);
        if (found.lastRun) found.lastRun.endedAt.setTime(found.lastRun.startedAt.getTime() + 30_000);
        return found;
      },
    }),
    foundBy: 'B32 the run of a stolen lock is recorded as failed, and as ended when the lock was stolen',
  },
  {
    name: 'stealAfter: 0 is ignored',
    plant: (right) =>
      requestsReadAs(right, (_, request) => ({ ...request, stealAfter: request.stealAfter || undefined })),
    foundBy: 'B32 an invalid stealAfter is refused before any statement is sent',
  },
];

export const ticks: PlantedBug[] = [
  {
    name: 'a release forgets the tick',
    plant: (right) => ticksForgotten(right, async (key) => (await right.inspect(key)).state === 'free'),
    foundBy: 'B76 a tick is granted once: after the release, every instance refuses it as done',
  },
  {
    name: 'a tick before the last one is granted again',
    plant: (right) =>
      ticksForgotten(right, async (key, tick) => {
        const { lastTick } = await right.inspect(key);
        return lastTick !== undefined && tick < lastTick.getTime();
      }),
    foundBy: 'B76 after a tick has run, a later tick is granted, but an earlier tick is refused as done',
  },
  {
    name: 'an expired lease gives its tick back',
    plant: (right) => ticksForgotten(right, (key) => right.isExpired(key)),
    foundBy: 'B76 a tick whose run crashed is not repeated',
  },
  {
    name: 'a held key is refused as held although its tick is done',
    plant: (right) => ({
      async acquire(key, owner, ttl, request) {
        const found = await right.inspect(key);
        return found.state === 'held' && !request?.resend
          ? { acquired: false, reason: 'held', holder: found.holder }
          : right.acquire(key, owner, ttl, request);
      },
    }),
    foundBy: 'B76 while the run of a tick goes on, other attempts for that tick are refused as done',
  },
  {
    name: 'a refused attempt completes its tick',
    plant: (right) => countingTicksRefused(right, 'held'),
    foundBy: 'B76 a tick whose attempt was refused can still be granted later',
  },
  {
    name: 'an acquisition without a tick forgets the last tick',
    plant: (right) => {
      const forgotten = new Set<string>();
      const broken = ticksForgotten(right, (key) => forgotten.has(key));
      return {
        async acquire(key, owner, ttl, request) {
          if (!request?.once) forgotten.add(key);
          return broken.acquire(key, owner, ttl, request);
        },
      };
    },
    foundBy: 'B76 an acquisition without a tick gets a key whose tick is done, and leaves the tick as it is',
  },
  {
    name: 'a tick may be any time ahead',
    plant: (right) => aheadReadAs(right, () => 8e15),
    foundBy: 'B76 a tick too far ahead of the clock is refused, and other ticks can still run',
  },
  {
    name: 'no tick may be ahead',
    plant: (right) => aheadReadAs(right, () => 0),
    foundBy: 'B76 a tick that is ahead of the clock, but not too far, is granted',
  },
  {
    name: 'an acquisition reads the tick first and records it later',
    plant: (right) => {
      const done = new Map<string, number>();
      return {
        async acquire(key, owner, ttl, { once, ...request } = {}) {
          if (!once || !('tick' in once)) return right.acquire(key, owner, ttl, { ...request, once });
          const isDone = (done.get(key) ?? 0) >= once.tick;
          await nextTurn();
          if (isDone) return { acquired: false, reason: 'tick-done' };
          const result = await right.acquire(key, owner, ttl, request);
          if (result.acquired) done.set(key, once.tick);
          return result;
        },
      };
    },
    foundBy: 'B76 if many instances try one tick, exactly one gets it, however soon its run ends',
  },
  {
    name: 'the first acquisition of a key does not record its tick',
    plant: (right) => ticksForgotten(right, (key) => !right.owners.has(key)),
    foundBy: 'B76 exactly one of many simultaneous attempts for the first tick of a key is granted',
  },
  {
    name: 'slots are ignored',
    plant: (right) =>
      requestsReadAs(right, (_, { once, ...request }) =>
        once && 'slot' in once ? request : { ...request, once },
      ),
    foundBy: 'B76 a slot is granted once, and an acquisition without a slot is still granted during it',
  },
  {
    name: 'slots never end',
    plant: (right) => slotsReadAs(right, () => ({ slot: 2 ** 40 })),
    foundBy: 'B76 a key can run again as soon as the next slot has begun',
  },
  {
    name: 'a repeated request is refused because its own tick is done',
    plant: (right) => ({
      async acquire(key, owner, ttl, request) {
        const isDone = request?.once !== undefined && (await right.inspect(key)).lastTick !== undefined;
        return request?.resend && isDone
          ? { acquired: false, reason: 'tick-done' }
          : right.acquire(key, owner, ttl, request);
      },
    }),
    foundBy: 'B76 resend: a granted attempt gets its lock again, although its tick has begun',
  },
  {
    name: 'a repeated request does not record its tick',
    plant: (right) =>
      requestsReadAs(right, (_, { once, ...request }) => (request.resend ? request : { ...request, once })),
    foundBy: 'B76 resend: if the first attempt for a tick never arrived, its repetition is granted, once',
  },
  {
    name: 'inspect does not show the last tick',
    plant: (right) => ({
      async inspect(key) {
        const { lastTick: _tick, ...found } = await right.inspect(key);
        return found;
      },
    }),
    foundBy: 'B76 an inspection shows the last tick during and after its run',
  },
  {
    name: 'the tick of a slot is not its beginning',
    plant: (right) =>
      slotsReadAs(right, (slot) => ({ tick: Math.floor(Date.now() / slot) * slot + 1, ahead: HOUR })),
    foundBy: 'B76 the recorded tick of a slot is the time at which the slot began',
  },
  {
    name: 'an expired run of a tick counts as done',
    plant: (right) => ({
      async inspect(key) {
        const { lastRun, ...found } = await right.inspect(key);
        return lastRun && found.lastTick ? { ...found, lastRun: { ...lastRun, outcome: 'done' } } : found;
      },
    }),
    foundBy: 'B76 a tick whose run crashed is recorded as failed',
  },
  {
    name: 'a forced release gives the tick back',
    plant: (right) => {
      const forced = new Set<string>();
      return {
        ...ticksForgotten(right, (key) => forced.has(key)),
        async forceRelease(key) {
          forced.add(key);
          return right.forceRelease(key);
        },
      };
    },
    foundBy: 'B76 a tick stays done after a forced release',
  },
  {
    name: 'a tick too far ahead leaves a row',
    plant: (right) => ({
      async acquire(...args) {
        const result = await right.acquire(...args);
        if (result.acquired || result.reason !== 'tick-ahead') return result;
        const [key, owner, ttl] = args;
        await right.acquire(key, owner, ttl);
        await right.release(key, owner);
        return result;
      },
    }),
    foundBy: 'B76 a tick that is refused because it is too far ahead is not stored',
  },
  {
    name: 'a purge ignores the ticks of keys',
    plant: (right) => {
      const purged = new Set<string>();
      return {
        ...ticksForgotten(right, (key) => purged.has(key)),
        async purge(request) {
          const kept = [...right.owners.keys()].filter((key) => key.startsWith(request.prefix ?? ''));
          for (const key of kept) if ((await right.inspect(key)).state === 'free') purged.add(key);
          return Math.max(purged.size, await right.purge(request));
        },
      };
    },
    foundBy: 'B72 a purge leaves keys whose last tick is younger than olderThan or in the future',
  },
  {
    name: 'failOver is ignored',
    plant: (right) => failOverReadAs(right, () => false),
    foundBy: 'B81 failOver: a tick is refused as held until its holder releases the lock, and then as done',
  },
  {
    name: 'the tick of an expired run is done also with failOver',
    plant: (right) => failOverReadAs(right, async (key) => !(await right.isExpired(key))),
    foundBy: 'B81 failOver: a tick whose run crashed is granted exactly once more',
  },
  {
    name: 'an expired run gives every tick back',
    plant: (right) =>
      requestsReadAs(right, async (key, { once, ...request }) =>
        once && 'failOver' in once && (await right.isExpired(key)) ? request : { ...request, once },
      ),
    foundBy: 'B81 failOver: a tick before the tick of a crashed run is refused as done',
  },
  {
    name: 'a kept key counts as a run that goes on',
    plant: (right) => ({
      async acquire(key, owner, ttl, request) {
        const found = await right.inspect(key);
        const failOver = request?.once !== undefined && 'failOver' in request.once;
        return failOver && found.state === 'held' && found.lastRun
          ? { acquired: false, reason: 'held', holder: found.holder }
          : right.acquire(key, owner, ttl, request);
      },
    }),
    foundBy: 'B81 failOver: a tick is refused as done after a release with keepFor',
  },
  {
    name: 'a forced release counts as a crash',
    plant: (right) => {
      const forced = new Set<string>();
      return {
        ...requestsReadAs(right, (key, { once, ...request }) =>
          once && 'failOver' in once && forced.has(key) ? request : { ...request, once },
        ),
        async forceRelease(key) {
          forced.add(key);
          return right.forceRelease(key);
        },
      };
    },
    foundBy: 'B81 failOver: a tick stays done after a forced release',
  },
  {
    name: 'a thief does not get the tick of the stolen lock',
    plant: (right) => failOverReadAs(right, (_, { stealAfter }) => stealAfter === undefined),
    foundBy: 'B81 failOver: a tick whose lock is stolen is granted again, but only to the new holder',
  },
  {
    name: 'a recorded tick is done, however far ahead it is',
    plant: (right) => ({
      async acquire(key, owner, ttl, request) {
        const { lastTick } = await right.inspect(key);
        const tooFar = lastTick !== undefined && lastTick.getTime() > Date.now() + HOUR;
        return request?.once && tooFar
          ? { acquired: false, reason: 'tick-done' }
          : right.acquire(key, owner, ttl, request);
      },
    }),
    foundBy: 'B81 a recorded tick that lies too far ahead is ignored and reported',
  },
  {
    name: 'a recorded tick that is ignored is not reported',
    plant: (right) => ({
      async acquire(...args) {
        const { ignoredTick: _ignored, ...answer } = {
          ignoredTick: undefined,
          ...(await right.acquire(...args)),
        };
        return answer;
      },
    }),
    foundBy: 'B81 gap: a recorded start that lies in the future is ignored and reported',
  },
  {
    name: 'a recorded tick too far ahead frees a held key',
    plant: (right) =>
      takingBefore(right, async (key, { once }) => {
        const { lastTick } = await right.inspect(key);
        if (once && lastTick && lastTick.getTime() > Date.now() + HOUR) await right.forceRelease(key);
      }),
    foundBy: 'B81 a holder keeps its lock even if the recorded tick lies too far ahead',
  },
  {
    name: 'gaps are ignored',
    plant: (right) =>
      requestsReadAs(right, (_, { once, ...request }) =>
        once && 'gap' in once ? request : { ...request, once },
      ),
    foundBy: 'B81 gap: every instance is refused within the gap, but attempts without a gap are granted',
  },
  {
    name: 'gaps never end',
    plant: (right) => gapsReadAs(right, () => ({ gap: 2 ** 40 })),
    foundBy: 'B81 gap: a key can run again after the gap',
  },
  {
    name: 'a gap does not end while the key is held',
    plant: (right) => ({
      async acquire(key, owner, ttl, request) {
        const gap = request?.once !== undefined && 'gap' in request.once;
        return gap && (await right.inspect(key)).state === 'held'
          ? { acquired: false, reason: 'tick-done' }
          : right.acquire(key, owner, ttl, request);
      },
    }),
    foundBy: 'B81 gap: a held key whose gap has passed is refused as held',
  },
  {
    name: 'a run with a gap records the tick of a slot',
    plant: (right) => gapsReadAs(right, (gap) => ({ tick: Math.floor(Date.now() / gap) * gap, ahead: HOUR })),
    foundBy: 'B81 gap: the recorded tick is the start of the run',
  },
  {
    name: 'a repeated request with a gap is refused',
    plant: (right) => ({
      async acquire(key, owner, ttl, request) {
        return request?.resend && request.once && 'gap' in request.once
          ? { acquired: false, reason: 'tick-done' }
          : right.acquire(key, owner, ttl, request);
      },
    }),
    foundBy: 'B81 resend: a granted attempt with a gap, or with failOver, gets its lock again',
  },
  {
    name: 'an invalid tick is replaced by the current time',
    plant: (right) =>
      requestsReadAs(right, (_, { once, ...request }) =>
        once && 'tick' in once && !Number.isInteger(once.tick)
          ? { ...request, once: { ...once, tick: Date.now() } }
          : { ...request, once },
      ),
    foundBy: 'B76 an invalid tick, slot or gap is refused before any statement is sent',
  },
];

export const pauses: PlantedBug[] = [
  {
    name: 'a pause does nothing',
    plant: () => ({ pause: async () => true }),
    foundBy: 'B73 a paused key is refused to every owner, until it is resumed',
  },
  {
    name: 'only a key with a row can be paused',
    plant: (right) => ({ pause: async (key) => right.owners.has(key) && right.pause(key) }),
    foundBy: 'B73 a key that was never used can be paused',
  },
  {
    name: 'every pause returns true',
    plant: (right) => ({ pause: async (key) => (await right.pause(key)) || true }),
    foundBy: 'B73 pause and resume return true only if they change the key',
  },
  {
    name: 'a pause ends when the holder releases the key',
    plant: (right) => ({
      async release(key, owner, end) {
        await right.resume(key);
        return right.release(key, owner, end);
      },
    }),
    foundBy: 'B73 the holder of a paused key can renew and release it, and no owner gets it after that',
  },
  {
    name: 'a pause takes the lock from its holder',
    plant: (right) => ({
      async pause(key) {
        await right.forceRelease(key);
        return right.pause(key);
      },
    }),
    foundBy: 'B73 the holder of a paused key can renew and release it, and no owner gets it after that',
  },
  {
    name: 'the end of a pause frees the key',
    plant: (right) => ({
      async resume(key) {
        await right.forceRelease(key);
        return right.resume(key);
      },
    }),
    foundBy: 'B73 a holder keeps its lock when its key is paused and resumed',
  },
  {
    name: 'an expired lock is granted although its key is paused',
    plant: (right) => takingBefore(right, async (key) => (await right.isExpired(key)) && right.resume(key)),
    foundBy: 'B73 a paused key is refused even after its lease, or the time of keepFor, has ended',
  },
  {
    name: 'a pause applies to all keys with the same beginning',
    plant: (right) => {
      const paused = new Set<string>();
      return {
        async acquire(key, ...rest) {
          const beginning = key.split(':').slice(0, 3).join(':');
          return paused.has(beginning) ? { acquired: false, reason: 'paused' } : right.acquire(key, ...rest);
        },
        async pause(key) {
          paused.add(key.split(':').slice(0, 3).join(':'));
          return right.pause(key);
        },
      };
    },
    foundBy: 'B73 a pause affects only its own key, not keys with a similar name',
  },
  {
    name: 'a pause reads first and writes later',
    plant: (right) => ({
      async pause(key) {
        const { paused } = await right.inspect(key);
        await nextTurn();
        await right.pause(key);
        return !paused;
      },
    }),
    foundBy: 'B73 exactly one of many simultaneous calls of pause, or of resume, returns true',
  },
  {
    name: 'a pause returns before it is written',
    plant: (right) => ({
      async pause(key) {
        void sleep(30).then(() => right.pause(key));
        return true;
      },
    }),
    foundBy: 'B73 each attempt after a pause is refused, even while many owners compete for the key',
  },
  {
    name: 'inspect does not show a pause',
    plant: (right) => ({
      async inspect(key) {
        const { paused: _paused, ...found } = await right.inspect(key);
        return found;
      },
    }),
    foundBy: 'B73 an inspection shows whether a held, expired or free key is paused',
  },
  {
    name: 'a paused key without a holder is listed',
    plant: (right) => {
      const paused: string[] = [];
      return {
        async pause(key) {
          paused.push(key);
          return right.pause(key);
        },
        async list(request) {
          const { locks } = await right.list(request);
          return { locks: locks.flatMap((lock) => [lock, ...paused.map((key) => ({ ...lock, key }))]) };
        },
      };
    },
    foundBy: 'B73 a paused key without a holder is not listed',
  },
  {
    name: 'a forced release ends a pause',
    plant: (right) => ({
      async forceRelease(key) {
        await right.resume(key);
        return right.forceRelease(key);
      },
    }),
    foundBy: 'B73 a forced release leaves a key paused',
  },
  {
    name: 'a purge deletes paused keys',
    plant: (right) => {
      const paused = new Set<string>();
      return {
        async pause(key) {
          paused.add(key);
          return right.pause(key);
        },
        async purge(request) {
          for (const key of paused) if (key.startsWith(request.prefix ?? '')) await right.resume(key);
          return right.purge(request);
        },
      };
    },
    foundBy: 'B73 a paused key is never purged',
  },
  {
    name: 'resume creates a row for a new key',
    plant: (right) => ({
      async resume(key) {
        if (await right.resume(key)) return true;
        await right.pause(key);
        await right.resume(key);
        return false;
      },
    }),
    foundBy: 'B73 resuming a key that was never locked stores nothing',
  },
  {
    name: 'a paused key can be stolen',
    plant: (right) =>
      takingBefore(right, async (key, { stealAfter }) => stealAfter !== undefined && right.resume(key)),
    foundBy: 'B73 a paused key is not stolen',
  },
  {
    name: 'a refusal during a pause completes the tick',
    plant: (right) => countingTicksRefused(right, 'paused'),
    foundBy: 'B73 a tick that was refused because of a pause is granted once the key is resumed',
  },
  {
    name: 'a paused key is refused as done',
    plant: (right) => ({
      async acquire(key, owner, ttl, request) {
        const result = await right.acquire(key, owner, ttl, request);
        if (result.acquired || result.reason !== 'paused') return result;
        const { once } = request ?? {};
        const { lastTick = new Date(0) } = await right.inspect(key);
        const isDone = once && 'tick' in once && lastTick.getTime() >= once.tick;
        return isDone ? { acquired: false, reason: 'tick-done' } : result;
      },
    }),
    foundBy: 'B73 if a refusal has several reasons, it shows the first of: too far ahead, paused, done, held',
  },
  {
    name: 'an invalid key can be paused',
    plant: (right) => ({ pause: async (key) => typeof key === 'string' && right.pause(key) }),
    foundBy: 'B41 an invalid key is neither paused nor resumed',
  },
];

type Acquiring = Pick<Port, 'acquire'>;

function requestsReadAs(right: RightStore, read: Reading): Acquiring {
  return {
    acquire: async (key, owner, ttl, request = {}) =>
      right.acquire(key, owner, ttl, await read(key, request)),
  };
}

/** Returns an acquisition with a bug: it calls `prepare` before each attempt. */
function takingBefore(
  right: RightStore,
  prepare: (key: string, request: AcquireRequest) => unknown,
): Acquiring {
  return requestsReadAs(right, async (key, request) => {
    await prepare(key, request);
    return request;
  });
}

/**
 * Returns an acquisition with a bug: it grants a tick that has run already if `isForgotten`
 * returns true.
 */
function ticksForgotten(
  right: RightStore,
  isForgotten: (key: string, tick: number) => Promise<boolean> | boolean,
): Acquiring {
  return requestsReadAs(right, async (key, { once, ...request }) =>
    once && 'tick' in once && (await isForgotten(key, once.tick)) ? request : { ...request, once },
  );
}

/**
 * Returns an acquisition with a bug: it regards a tick as done after a refusal for this
 * reason.
 */
function countingTicksRefused(right: RightStore, reason: RefusalReason): Acquiring {
  const counted = new Set<string>();
  return {
    async acquire(key, owner, ttl, request) {
      const { once } = request ?? {};
      const tick = once && 'tick' in once ? `${key} ${once.tick}` : '';
      if (counted.has(tick)) return { acquired: false, reason: 'tick-done' };
      const result = await right.acquire(key, owner, ttl, request);
      if (tick && !result.acquired && result.reason === reason) counted.add(tick);
      return result;
    },
  };
}

function aheadReadAs(right: RightStore, read: (ahead: number) => number): Acquiring {
  return requestsReadAs(right, (_, { once, ...request }) => ({
    ...request,
    once: once && 'tick' in once ? { ...once, ahead: read(once.ahead) } : once,
  }));
}

function failOverReadAs(
  right: RightStore,
  read: (key: string, request: AcquireRequest) => Promise<boolean> | boolean,
): Acquiring {
  return requestsReadAs(right, async (key, request) => {
    const { once } = request;
    if (!once || !('tick' in once) || !once.failOver) return request;
    return { ...request, once: { ...once, failOver: await read(key, request) } };
  });
}

function gapsReadAs(
  right: RightStore,
  read: (gap: number) => NonNullable<AcquireRequest['once']>,
): Acquiring {
  return requestsReadAs(right, (_, { once, ...request }) => ({
    ...request,
    once: once && 'gap' in once ? read(once.gap) : once,
  }));
}

function slotsReadAs(
  right: RightStore,
  read: (slot: number) => NonNullable<AcquireRequest['once']>,
): Acquiring {
  return requestsReadAs(right, (_, { once, ...request }) => ({
    ...request,
    once: once && 'slot' in once ? read(once.slot) : once,
  }));
}
