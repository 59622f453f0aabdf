import { setImmediate as nextTurn } from 'node:timers/promises';
import type {
  BatchRenewer,
  LockAcquireResult,
  LockInspector,
  WaiterRelease,
  LockPauser,
  LockStore,
} from '../../lib/interfaces/lock-store.interface.js';
import { fitKey } from '../../lib/options/lock-key.js';
import { LockError, LockStoreError } from '../../lib/lock.errors.js';
import { MemoryLockStore } from '../../lib/stores/memory/memory-lock.store.js';
import { releasingToWaiters } from './conformance-planted-bugs.release-to-waiter.js';
import { sharedStatements } from './conformance-planted-bugs.batches.js';
import { pauses, stealing, ticks } from './conformance-planted-bugs.conditions.js';

export type Port = LockStore & WaiterRelease & BatchRenewer & LockInspector & LockPauser;

const HOUR = 3_600_000;
const NEVER = Number.MAX_SAFE_INTEGER;

/**
 * A sound store. It also remembers the last owner and label of each key, which some bugs use.
 */
export class RightStore extends MemoryLockStore {
  readonly owners = new Map<string, string>();
  readonly labels = new Map<string, string | undefined>();

  override async acquire(...args: Parameters<LockStore['acquire']>): Promise<LockAcquireResult> {
    const result = await super.acquire(...args);
    if (result.acquired) {
      this.owners.set(args[0], args[1]);
      this.labels.set(args[0], args[3]?.label);
    }
    return result;
  }

  override async releaseToWaiter(
    ...args: Parameters<WaiterRelease['releaseToWaiter']>
  ): Promise<LockAcquireResult> {
    const result = await super.releaseToWaiter(...args);
    if (result.acquired) {
      this.owners.set(args[0], args[2].owner);
      this.labels.set(args[0], args[2].label);
    }
    return result;
  }

  async isExpired(key: string): Promise<boolean> {
    return (await this.inspect(key)).state === 'expired';
  }

  async remaining(key: string): Promise<number> {
    const found = await this.inspect(key);
    return found.state === 'held' ? found.holder.remaining : 0;
  }
}

export interface PlantedBug {
  name: string;
  /** Returns the operations that the bug changes in a sound store. */
  plant: (right: RightStore) => Partial<Port>;
  /** The name of the conformance case that has to find the bug. */
  foundBy: string;
}

const acquiring: PlantedBug[] = [
  {
    name: 'every acquisition steals',
    plant: (right) => ({
      async acquire(key, ...rest) {
        await right.forceRelease(key);
        return right.acquire(key, ...rest);
      },
    }),
    foundBy: 'B39 a held key is refused to another owner',
  },
  {
    name: 'the same owner string is granted a held key',
    plant: (right) => ({
      acquire: (key, owner, ttl, request) => right.acquire(key, owner, ttl, { ...request, resend: true }),
    }),
    foundBy: 'B39 a held key is refused even to a second attempt with the same owner',
  },
  {
    name: 'the same label is granted a held key',
    plant: (right) => ({
      async acquire(key, owner, ttl, request) {
        const same = request?.label !== undefined && request.label === right.labels.get(key);
        if (same) await right.forceRelease(key);
        return right.acquire(key, owner, ttl, request);
      },
    }),
    foundBy: 'B37 two workers with the same label exclude each other',
  },
  {
    name: 'an owner has one lock at a time',
    plant: (right) => {
      const keys = new Map<string, string>();
      return {
        async acquire(key, owner, ttl, request) {
          const before = keys.get(owner);
          if (before !== undefined && before !== key) await right.release(before, owner);
          keys.set(owner, key);
          return right.acquire(key, owner, ttl, request);
        },
      };
    },
    foundBy: 'B24 locks of different keys are independent, even with the same owner',
  },
  {
    name: 'a refusal does not show the holder',
    plant: (right) => ({
      acquire: async (...args) => {
        const result = await right.acquire(...args);
        return result.acquired ? result : { acquired: false, reason: 'held' };
      },
    }),
    foundBy: 'B22 a refusal shows the holder with its label, its token, and the start and end of its lease',
  },
  {
    name: 'a held key is refused as contention',
    plant: (right) => ({
      acquire: async (...args) => {
        const result = await right.acquire(...args);
        return result.acquired ? result : { ...result, reason: 'contention' };
      },
    }),
    foundBy: 'B39 a held key is refused to another owner',
  },
  {
    name: 'a held key is an error',
    plant: (right) => ({
      acquire: async (...args) => {
        const result = await right.acquire(...args);
        if (!result.acquired) throw new LockStoreError('duplicate key');
        return result;
      },
    }),
    foundBy: 'B39 a held key is refused to another owner',
  },
  {
    name: 'a refusal shows the owner id',
    plant: (right) => ({
      acquire: async (...args) => {
        const result = await right.acquire(...args);
        if (result.acquired || !result.holder) return result;
        return { ...result, holder: Object.assign(result.holder, { owner: right.owners.get(args[0]) }) };
      },
    }),
    foundBy: 'B36 a refusal shows no owner id, since whoever knows it could release the lock',
  },
  {
    name: 'labels lose characters outside of ASCII',
    plant: (right) => ({
      acquire: (key, owner, ttl, request) =>
        right.acquire(key, owner, ttl, { ...request, label: request?.label?.replace(/[^ -~]/gu, '?') }),
    }),
    foundBy: 'B36 a refusal shows the label of the holder unchanged, or null if the holder has no label',
  },
  {
    name: 'a label longer than its column is an error',
    plant: (right) => ({
      async acquire(key, owner, ttl, request) {
        if ((request?.label?.length ?? 0) > 255)
          throw new LockStoreError('value too long for type character varying(255)');
        return right.acquire(key, owner, ttl, request);
      },
    }),
    foundBy: 'B36 a key is granted with any label, even if the column cannot keep that label',
  },
  {
    name: 'owners are cut at 64 characters',
    plant: (right) => ownersReadAs(right, (owner) => owner.slice(0, 64)),
    foundBy: 'B36 owners that differ in case, in a space or at the end of a long name are different owners',
  },
  {
    name: 'owners are case-insensitive',
    plant: (right) => ownersReadAs(right, (owner) => owner.toLowerCase()),
    foundBy: 'B36 owners that differ in case, in a space or at the end of a long name are different owners',
  },
  {
    name: 'a lock that never expires gets an expiry',
    plant: (right) => ({
      acquire: (key, owner, ttl, request) => right.acquire(key, owner, Math.min(ttl, 9999 * HOUR), request),
    }),
    foundBy: 'B29 a lock that never expires is held until it is released',
  },
  {
    name: 'a ttl has at most 32 bits',
    plant: (right) => ({
      acquire: (key, owner, ttl, request) =>
        right.acquire(key, owner, ttl === NEVER ? ttl : Math.min(ttl, 2 ** 31 - 1), request),
    }),
    foundBy: 'B28 a lease may last 30 days',
  },
  {
    name: 'a ttl must be an integer',
    plant: (right) => ({
      async acquire(key, owner, ttl, request) {
        if (Number.isFinite(ttl) && !Number.isInteger(ttl))
          throw new LockStoreError('invalid input syntax for type bigint');
        return right.acquire(key, owner, ttl, request);
      },
    }),
    foundBy: 'B28 a ttl may have a fraction of a millisecond',
  },
  {
    name: 'acquire requires its optional argument',
    plant: (right) => ({
      async acquire(key, owner, ttl, request) {
        if (!request) throw new TypeError("Cannot read properties of undefined (reading 'label')");
        return right.acquire(key, owner, ttl, request);
      },
    }),
    foundBy: 'contract of @nestjs/locks: the three operations work without their optional arguments',
  },
  {
    name: 'an undefined label is an error',
    plant: (right) => ({
      async acquire(key, owner, ttl, request) {
        if (request && 'label' in request && request.label === undefined)
          throw new LockStoreError('bind parameters must not contain undefined');
        return right.acquire(key, owner, ttl, request);
      },
    }),
    foundBy: 'contract of @nestjs/locks: an optional argument that is undefined counts as not given',
  },
];

const tokens: PlantedBug[] = [
  {
    name: 'the token is a string, as drivers return a BIGINT',
    plant: (right) => tokensMadeBy(right, (_, token) => String(token) as unknown as number),
    foundBy: 'B15 a free key is granted, with a token that is a safe integer',
  },
  {
    name: 'the token is in nanoseconds',
    plant: (right) => tokensMadeBy(right, (_, token) => token * 1000),
    foundBy: 'B15 a free key is granted, with a token that is a safe integer',
  },
  {
    name: 'the token starts again after a release',
    plant: (right) => {
      const counts = new Map<string, number>();
      return {
        ...tokensMadeBy(right, (key) => {
          counts.set(key, (counts.get(key) ?? 0) + 1);
          return counts.get(key) ?? 0;
        }),
        async release(key, ...rest) {
          counts.delete(key);
          return right.release(key, ...rest);
        },
      };
    },
    foundBy: 'B38 each grant after a release has a larger token, in all instances',
  },
  {
    name: 'a take-over keeps the token',
    plant: (right) => {
      const last = new Map<string, number>();
      return {
        async acquire(key, ...rest) {
          const before = last.get(key);
          const expired = before !== undefined && (await right.isExpired(key));
          const result = await right.acquire(key, ...rest);
          if (!result.acquired) return result;
          if (expired) return { acquired: true, fencingToken: before };
          last.set(key, result.fencingToken);
          return result;
        },
      };
    },
    foundBy: 'B38 an expired lock is granted even to its last owner, with a larger token',
  },
  {
    name: 'the token starts again after a forced release',
    plant: (right) => {
      const forced = new Set<string>();
      return {
        ...tokensMadeBy(right, (key, token) => (forced.has(key) ? 1 : token)),
        async forceRelease(key) {
          forced.add(key);
          return right.forceRelease(key);
        },
      };
    },
    foundBy: 'B71 a forced release frees the key, and the holder can no longer renew or release it',
  },
  {
    name: 'a take-over continues from the token of the first grant',
    plant: (right) => {
      const first = new Map<string, number>();
      return {
        async acquire(key, ...rest) {
          const before = first.get(key);
          const result = await right.acquire(key, ...rest);
          if (!result.acquired) return result;
          const takenOver = (await right.inspect(key)).lastRun?.outcome === 'failed';
          if (takenOver && before !== undefined) return { acquired: true, fencingToken: before + 1 };
          first.set(key, result.fencingToken);
          return result;
        },
      };
    },
    foundBy: 'B38 each grant after an expiry, a take-over or a release has a larger token',
  },
];

const resending: PlantedBug[] = [
  {
    name: 'resend is ignored',
    plant: (right) => ({
      acquire: (key, owner, ttl, request) => right.acquire(key, owner, ttl, { label: request?.label }),
    }),
    foundBy: 'resend: a granted attempt gets its lock again, with the same token and a full ttl',
  },
  {
    name: 'resend steals a held key',
    plant: (right) => ({
      async acquire(key, owner, ttl, request) {
        if (request?.resend && right.owners.get(key) !== owner) await right.forceRelease(key);
        return right.acquire(key, owner, ttl, request);
      },
    }),
    foundBy: 'resend: an attempt is refused while another owner holds the key',
  },
  {
    name: 'resend acquires anew',
    plant: (right) => ({
      async acquire(key, owner, ttl, request) {
        if (request?.resend) await right.release(key, owner);
        return right.acquire(key, owner, ttl, request);
      },
    }),
    foundBy: 'resend: a granted attempt gets its lock again, with the same token and a full ttl',
  },
  {
    name: 'resend keeps the remaining ttl',
    plant: (right) => ({
      async acquire(key, owner, ttl, request) {
        const remaining = request?.resend ? await right.remaining(key) : 0;
        return right.acquire(key, owner, remaining > 0 ? remaining : ttl, request);
      },
    }),
    foundBy: 'resend: a granted attempt gets its lock again, with the same token and a full ttl',
  },
  {
    name: 'resend opens a kept key',
    plant: (right) => ({
      async acquire(key, owner, ttl, request) {
        if (request?.resend && right.owners.get(key) === owner) await right.forceRelease(key);
        return right.acquire(key, owner, ttl, request);
      },
    }),
    foundBy: 'resend: an attempt does not get a key that its own release keeps taken',
  },
  {
    name: 'resend returns its old token after a take-over',
    plant: (right) => {
      const granted = new Map<string, number>();
      return {
        async acquire(key, owner, ttl, request) {
          const before = granted.get(`${key} ${owner}`);
          if (request?.resend && before !== undefined) return { acquired: true, fencingToken: before };
          const result = await right.acquire(key, owner, ttl, request);
          if (result.acquired) granted.set(`${key} ${owner}`, result.fencingToken);
          return result;
        },
      };
    },
    foundBy:
      'resend: an attempt is refused after a take-over, and gets a larger token once the key is free again',
  },
  {
    name: 'resend only looks for its own lock',
    plant: (right) => ({
      async acquire(key, owner, ttl, request) {
        if (request?.resend && right.owners.get(key) !== owner)
          return { acquired: false, reason: 'contention' };
        return right.acquire(key, owner, ttl, request);
      },
    }),
    foundBy: 'resend: if the first attempt never arrived, its repetition is granted like any other attempt',
  },
  {
    name: 'resend is refused after its own lease has expired',
    plant: (right) => ({
      async acquire(key, owner, ttl, request) {
        if (request?.resend && (await right.isExpired(key))) return { acquired: false, reason: 'held' };
        return right.acquire(key, owner, ttl, request);
      },
    }),
    foundBy: 'resend: after its own lease has expired, an attempt is granted with the same or a larger token',
  },
];

const renewing: PlantedBug[] = [
  {
    name: 'renew by key only',
    plant: (right) => ({
      renew: (key, owner, ttl) => right.renew(key, right.owners.get(key) ?? owner, ttl),
    }),
    foundBy: 'B37 only the owner can renew a lock',
  },
  {
    name: 'renew revives an expired lease',
    plant: (right) => ({
      async renew(key, owner, ttl) {
        if (await right.renew(key, owner, ttl)) return true;
        if (right.owners.get(key) !== owner || !(await right.isExpired(key))) return false;
        return (await right.acquire(key, owner, ttl, { resend: true })).acquired;
      },
    }),
    foundBy: 'B50 an expired lease is never revived, even if no other owner took the key',
  },
  {
    name: 'renew takes a released lock back',
    plant: (right) => ({
      async renew(key, owner, ttl) {
        if (await right.renew(key, owner, ttl)) return true;
        if (right.owners.get(key) !== owner || (await right.inspect(key)).state !== 'free') return false;
        return (await right.acquire(key, owner, ttl)).acquired;
      },
    }),
    foundBy: 'B54 a released lock is not taken back by a renewal',
  },
  {
    name: 'renew never shortens a lease',
    plant: (right) => ({
      renew: async (key, owner, ttl) => right.renew(key, owner, Math.max(ttl, await endOf(right, key))),
    }),
    foundBy: 'B49 a renewal may shorten the lease',
  },
  {
    name: 'renew ignores a lock that never expires',
    plant: (right) => ({
      renew: async (key, owner, ttl) =>
        right.renew(key, owner, (await right.remaining(key)) === Infinity ? NEVER : ttl),
    }),
    foundBy: 'B49 a renewal can limit the lease of a lock that would never expire',
  },
  {
    name: 'renewals add up',
    plant: (right) => ({
      renew: async (key, owner, ttl) =>
        right.renew(key, owner, Math.min(NEVER, ttl + (await right.remaining(key)))),
    }),
    foundBy: 'B51 the ttls of repeated renewals do not add up',
  },
  {
    name: 'renew returns true and does nothing',
    plant: (right) => ({
      renew: async (key, owner, ttl) =>
        ttl > 0 && right.owners.get(key) === owner && (await right.remaining(key)) > 0,
    }),
    foundBy: 'B51 a renewal makes the lease end one ttl from now, and changes nothing else',
  },
  {
    name: 'renew acquires anew',
    plant: (right) => ({
      renew: async (key, owner, ttl) =>
        (await right.release(key, owner)) && (await right.acquire(key, owner, ttl)).acquired,
    }),
    foundBy: 'B51 a renewal makes the lease end one ttl from now, and changes nothing else',
  },
  {
    name: 'renew creates a row for a new key',
    plant: (right) => ({
      async renew(key, owner, ttl) {
        if (!right.owners.has(key)) await right.acquire(key, owner, ttl);
        return right.renew(key, owner, ttl);
      },
    }),
    foundBy: 'B45 renewing a key that was never locked stores nothing',
  },
  {
    name: 'renew accepts every former owner',
    plant: (right) => {
      const had = new Set<string>();
      return {
        async acquire(key, owner, ttl, request) {
          had.add(`${key} ${owner}`);
          return right.acquire(key, owner, ttl, request);
        },
        async renew(key, owner, ttl) {
          const holder = had.has(`${key} ${owner}`) ? right.owners.get(key) : undefined;
          return right.renew(key, holder ?? owner, ttl);
        },
      };
    },
    foundBy: 'B54 a renewal by a former holder does not affect the lock of the new holder',
  },
];

const releasing: PlantedBug[] = [
  {
    name: 'release by key only',
    plant: (right) => ({
      release: (key, owner, end) => right.release(key, right.owners.get(key) ?? owner, end),
    }),
    foundBy: 'B37 only the owner can release a lock',
  },
  {
    name: 'release by a former owner frees the key',
    plant: (right) => {
      const had = new Set<string>();
      return {
        async acquire(key, owner, ttl, request) {
          had.add(`${key} ${owner}`);
          return right.acquire(key, owner, ttl, request);
        },
        release: async (key, owner, end) =>
          (await right.release(key, owner, end)) ||
          (had.has(`${key} ${owner}`) && (await right.forceRelease(key))),
      };
    },
    foundBy: 'B44 a release by a former holder does not affect the lock of the new holder',
  },
  {
    name: 'release of an expired lease returns true',
    plant: (right) => ({
      release: async (key, owner, end) =>
        (await right.release(key, owner, end)) ||
        (right.owners.get(key) === owner && (await right.isExpired(key))),
    }),
    foundBy: 'B43 the release of an expired lease returns false',
  },
  {
    name: 'release returns true every time',
    plant: (right) => ({
      release: async (key, owner, end) =>
        (await right.release(key, owner, end)) || right.owners.get(key) === owner,
    }),
    foundBy: 'B43 a release frees the key at once, and only the first release returns true',
  },
  {
    name: 'release returns true and frees nothing',
    plant: (right) => ({ release: (key, owner) => right.renew(key, owner, HOUR) }),
    foundBy: 'B43 a release frees the key at once, and only the first release returns true',
  },
  {
    name: 'release creates a row for a new key',
    plant: (right) => ({
      async release(key, owner, end) {
        if (!right.owners.has(key) && end?.keepFor) await right.acquire(key, owner, end.keepFor);
        return right.release(key, owner, end);
      },
    }),
    foundBy: 'B45 releasing a key that was never locked stores nothing',
  },
  {
    name: 'keepFor is ignored',
    plant: (right) => ({
      release: (key, owner, end) => right.release(key, owner, { outcome: end?.outcome }),
    }),
    foundBy:
      'B76 a release with keepFor keeps the key taken, but the former holder can no longer renew or release it',
  },
  {
    name: 'keepFor keeps the holder',
    plant: (right) => ({
      release: (key, owner, end) =>
        end?.keepFor ? right.renew(key, owner, end.keepFor) : right.release(key, owner, end),
    }),
    foundBy:
      'B76 a release with keepFor keeps the key taken, but the former holder can no longer renew or release it',
  },
  {
    name: 'keepFor never shortens a lease',
    plant: (right) => ({
      async release(key, owner, end) {
        const keepFor = end?.keepFor && Math.max(end.keepFor, await endOf(right, key));
        return right.release(key, owner, { ...end, keepFor });
      },
    }),
    foundBy:
      'B76 a key that is released with keepFor is free after that time, even if the lease would have lasted longer',
  },
  {
    name: 'keepFor: 0 keeps the key forever',
    plant: (right) => ({
      release: (key, owner, end) =>
        right.release(key, owner, end?.keepFor === 0 ? { ...end, keepFor: NEVER } : end),
    }),
    foundBy: 'B76 keepFor: 0 frees the key at once',
  },
];

const expiring: PlantedBug[] = [
  {
    name: 'leases end after half of their ttl',
    plant: (right) => ({
      acquire: (key, owner, ttl, request) => right.acquire(key, owner, ttl / 2, request),
    }),
    foundBy: 'B28 a lease that is not renewed ends after its ttl, and not before',
  },
  {
    name: 'leases end only after a clean-up',
    plant: (right) => ({
      async acquire(key, ...rest) {
        return (await right.isExpired(key))
          ? { acquired: false, reason: 'held' }
          : right.acquire(key, ...rest);
      },
    }),
    foundBy: 'B28 a lease that is not renewed ends after its ttl, and not before',
  },
  {
    name: 'a take-over keeps the old owner',
    plant: (right) => ({
      async acquire(key, owner, ttl, request) {
        const old = (await right.isExpired(key)) ? right.owners.get(key) : undefined;
        return right.acquire(key, old ?? owner, ttl, request);
      },
    }),
    foundBy: 'B44 an expired lock that was taken over belongs only to the new holder',
  },
  {
    name: 'a take-over keeps the old label',
    plant: (right) => ({
      async acquire(key, owner, ttl, request) {
        const label = request?.label ?? ((await right.isExpired(key)) ? right.labels.get(key) : undefined);
        return right.acquire(key, owner, ttl, { ...request, label });
      },
    }),
    foundBy: 'B35 if an attempt without a label takes over an expired lock, the new holder has no label',
  },
  {
    name: 'an expired lock is refused to its old label',
    plant: (right) => ({
      async acquire(key, owner, ttl, request) {
        const same = request?.label !== undefined && request.label === right.labels.get(key);
        if (same && (await right.isExpired(key))) return { acquired: false, reason: 'held' };
        return right.acquire(key, owner, ttl, request);
      },
    }),
    foundBy: 'B35 an expired lock is granted even to a caller with the label of its last holder',
  },
  {
    name: 'a lock that never expires is taken over when it is old',
    plant: (right) => ({
      async acquire(key, owner, ttl, request) {
        const found = await right.inspect(key);
        const age = found.state === 'held' ? Date.now() - found.holder.renewedAt.getTime() : 0;
        if (found.state === 'held' && found.holder.expiresAt === null && age > 40)
          await right.forceRelease(key);
        return right.acquire(key, owner, ttl, request);
      },
    }),
    foundBy: 'B29 a lock that never expires and a renewed lock are not taken over',
  },
];

const keys: PlantedBug[] = [
  {
    name: 'keys are case-insensitive',
    plant: (right) => keysReadAs(right, (key) => key.toLowerCase()),
    foundBy: 'B41 keys that differ in case, accents or normal form are different locks',
  },
  {
    name: 'keys are normalized',
    plant: (right) => keysReadAs(right, (key) => key.normalize('NFC')),
    foundBy: 'B41 keys that differ in case, accents or normal form are different locks',
  },
  {
    name: 'accents are ignored',
    plant: (right) => keysReadAs(right, (key) => key.normalize('NFD').replace(/\p{M}/gu, '')),
    foundBy: 'B41 keys that differ in case, accents or normal form are different locks',
  },
  {
    name: 'characters beyond the basic plane are equal',
    plant: (right) => keysReadAs(right, (key) => key.replace(/[\u{10000}-\u{10ffff}]/gu, '?')),
    foundBy: 'B41 keys that differ in case, accents or normal form are different locks',
  },
  {
    name: 'trailing spaces are ignored',
    plant: (right) => keysReadAs(right, (key) => key.replace(/ +$/, '')),
    foundBy: 'B41 keys that differ in spaces or characters without width are different locks',
  },
  {
    name: 'leading spaces are ignored',
    plant: (right) => keysReadAs(right, (key) => key.replace(/^ +/, '')),
    foundBy: 'B41 keys that differ in spaces or characters without width are different locks',
  },
  {
    name: 'numeric keys are converted to numbers',
    plant: (right) => keysReadAs(right, (key) => (Number.isNaN(Number(key)) ? key : String(Number(key)))),
    foundBy: 'B41 keys that spell the same number differently are different locks',
  },
  {
    name: 'the end of a key is ignored',
    plant: (right) => keysReadAs(right, (key) => key.replace(/(:key)\w+$/, '$1')),
    foundBy: 'B41 a key and a prefix of it are different locks',
  },
  {
    name: 'keys are inserted into the statement unescaped',
    plant: (right) => ({
      async acquire(key, ...rest) {
        if (key.includes("'")) throw new LockStoreError('syntax error at or near');
        return right.acquire(key, ...rest);
      },
    }),
    foundBy: 'B41 keys that look like parts of a statement can be locked like any other key',
  },
  {
    name: 'keys are cut at 255 bytes',
    plant: (right) => keysReadAs(right, (key) => Buffer.from(key).subarray(0, 255).toString()),
    foundBy: 'B41 a key of 500 characters, which is longer than the column, is not cut',
  },
  {
    name: 'keys are cut before the 4096th byte',
    plant: (right) => keysReadAs(right, (key) => key.slice(0, 4095)),
    foundBy: 'B41 keys of 4 KiB that differ only in the last character are different locks',
  },
  {
    name: 'keys are cut in the middle of a character',
    plant: (right) => ({
      async acquire(key, ...rest) {
        const cut = Buffer.from(key).subarray(0, 183).toString();
        if (key.length > 183 && !key.startsWith(cut))
          throw new LockStoreError('invalid byte sequence for encoding "UTF8"');
        return right.acquire(key, ...rest);
      },
    }),
    foundBy: 'B41 keys longer than the column may have a character of several bytes where the column ends',
  },
  {
    name: 'a key that looks like the stored form of a longer key is not hashed',
    plant: (right) => {
      const originals = new Map<string, string>();
      return keysReadAs(right, (key) => {
        if (key.length > 255) originals.set(fitKey(key), key);
        return originals.get(key) ?? key;
      });
    },
    foundBy: 'B41 a key that equals the stored form of a longer key is a different lock',
  },
  {
    name: 'an invalid key is converted to text',
    plant: (right) => keysReadAs(right, asText),
    foundBy: 'B41 an invalid key is refused before any statement is sent',
  },
  {
    name: 'the database refuses an invalid key',
    plant: (right) => ({
      release: async (...args) => {
        try {
          return await right.release(...args);
        } catch (cause) {
          throw new LockStoreError('invalid byte sequence', { cause });
        }
      },
    }),
    foundBy: 'B41 an invalid key is refused before any statement is sent',
  },
  {
    name: 'keys over the limit are cut',
    plant: (right) => keysReadAs(right, (key) => key.slice(0, 1024)),
    foundBy: 'B41 a key over 4 KiB is refused',
  },
  {
    name: 'an invalid owner is converted to text',
    plant: (right) => ({
      acquire: (key, owner, ttl, request) => right.acquire(key, asText(owner), ttl, request),
    }),
    foundBy: 'B36 an invalid owner is refused before any statement is sent, and the error does not repeat it',
  },
  {
    name: 'an error contains the owner',
    plant: (right) => ({
      release: async (key, owner, end) => {
        try {
          return await right.release(key, owner, end);
        } catch (cause) {
          throw new LockError(`not released for ${owner}`, { cause });
        }
      },
    }),
    foundBy: 'B36 an invalid owner is refused before any statement is sent, and the error does not repeat it',
  },
  {
    name: 'a ttl of 0 is accepted',
    plant: (right) => ({
      acquire: (key, owner, ttl, request) => right.acquire(key, owner, ttl === 0 ? 1 : ttl, request),
    }),
    foundBy: 'B30 an invalid ttl is refused before any statement is sent',
  },
  {
    name: 'a negative keepFor is accepted',
    plant: (right) => ({
      release: (key, owner, end) =>
        right.release(key, owner, end && { ...end, keepFor: end.keepFor === -1 ? 0 : end.keepFor }),
    }),
    foundBy: 'B30 an invalid keepFor is refused before any statement is sent',
  },
];

const racing: PlantedBug[] = [
  {
    name: 'acquire reads first and writes later',
    plant: (right) => ({
      async acquire(key, ...rest) {
        const held = (await right.inspect(key)).state === 'held';
        await nextTurn();
        if (!held) await right.forceRelease(key);
        return right.acquire(key, ...rest);
      },
    }),
    foundBy: 'B25 exactly one of many simultaneous acquirers of a new key gets it',
  },
  {
    name: 'acquire of a released key reads first and writes later',
    plant: (right) => ({
      async acquire(key, ...rest) {
        const found = await right.inspect(key);
        await nextTurn();
        if (found.state === 'free' && found.lastRun) await right.forceRelease(key);
        return right.acquire(key, ...rest);
      },
    }),
    foundBy: 'B25 exactly one of many simultaneous acquirers of a released key gets it, with a larger token',
  },
  {
    name: 'a take-over reads first and writes later',
    plant: (right) => ({
      async acquire(key, ...rest) {
        const expired = await right.isExpired(key);
        await nextTurn();
        if (expired) await right.forceRelease(key);
        return right.acquire(key, ...rest);
      },
    }),
    foundBy: 'B25 exactly one of many simultaneous acquirers of an expired key gets it, with a larger token',
  },
  {
    name: 'collisions are errors',
    plant: (right) => colliding(right, () => new LockStoreError('could not serialize access')),
    foundBy: 'B25 exactly one of many simultaneous acquirers of a new key gets it',
  },
  {
    name: 'every colliding acquisition is refused',
    plant: (right) => colliding(right, () => ({ acquired: false, reason: 'contention' })),
    foundBy: 'B25 exactly one of many simultaneous acquirers of a new key gets it',
  },
  {
    name: 'acquisitions of different keys collide',
    plant: (right) => colliding(right, () => ({ acquired: false, reason: 'contention' }), 'all keys'),
    foundBy: 'B24 simultaneous attempts for many different keys are all granted',
  },
  {
    name: 'a contender makes the renewal fail',
    plant: (right) => {
      const running = new Map<string, number>();
      return {
        async acquire(key, ...rest) {
          running.set(key, (running.get(key) ?? 0) + 1);
          await nextTurn();
          running.set(key, (running.get(key) ?? 0) - 1);
          return right.acquire(key, ...rest);
        },
        async renew(key, owner, ttl) {
          await nextTurn();
          if (running.get(key)) throw new LockStoreError('deadlock detected');
          return right.renew(key, owner, ttl);
        },
      };
    },
    foundBy: 'B26 the holder can renew and release its lock while many contenders try to get it',
  },
  {
    name: 'release reads first and returns later',
    plant: (right) => ({
      async release(key, owner, end) {
        const own = right.owners.get(key) === owner && (await right.remaining(key)) > 0;
        await nextTurn();
        return (await right.release(key, owner, end)) || own;
      },
    }),
    foundBy: 'B43 exactly one of many simultaneous releases of a lock returns true',
  },
  {
    name: 'every seventh acquisition steals the key',
    plant: (right) => {
      let sections = 0;
      return {
        async acquire(key, ...rest) {
          if (++sections % 7 === 0) await right.forceRelease(key);
          return right.acquire(key, ...rest);
        },
      };
    },
    foundBy: 'B40 a counter under a lock loses no update',
  },
];

const batches: PlantedBug[] = [
  {
    name: 'renewMany returns results in the order of the keys',
    plant: (right) => ({
      renewMany: (leases) => right.renewMany(leases.toSorted((a, b) => (a.key < b.key ? -1 : 1))),
    }),
    foundBy: 'B51 renewMany returns an outcome for each lease, in the order of the leases',
  },
  {
    name: 'renewMany ignores the owners',
    plant: (right) => ({
      async renewMany(leases) {
        const outcomes = await right.renewMany(leases);
        const renewed = new Set(leases.filter((_, i) => outcomes[i] === 'renewed').map(({ key }) => key));
        return leases.map(({ key }) => (renewed.has(key) ? 'renewed' : 'lost'));
      },
    }),
    foundBy: 'B51 renewMany returns an outcome for each lease, in the order of the leases',
  },
  {
    name: 'renewMany ignores the keys',
    plant: (right) => ({
      async renewMany(leases) {
        const outcomes = await right.renewMany(leases);
        const renewed = new Set(leases.filter((_, i) => outcomes[i] === 'renewed').map(({ owner }) => owner));
        return leases.map(({ owner }) => (renewed.has(owner) ? 'renewed' : 'lost'));
      },
    }),
    foundBy: 'B51 renewMany tells leases of one owner apart by their keys',
  },
  {
    name: 'renewMany compares key and owner as one text',
    plant: (right) => ({
      async renewMany(leases) {
        const held = new Set([...right.owners].map(([key, owner]) => `${key}${owner}`));
        const outcomes = await right.renewMany(leases);
        return leases.map(({ key, owner }, i) => (held.has(`${key}${owner}`) ? 'renewed' : outcomes[i]!));
      },
    }),
    foundBy: 'B51 renewMany does not confuse leases whose key and owner give the same text when joined',
  },
  {
    name: 'renewMany leaves out lost leases',
    plant: (right) => ({
      renewMany: async (leases) => (await right.renewMany(leases)).filter((outcome) => outcome === 'renewed'),
    }),
    foundBy: 'B51 renewMany returns an outcome for each lease, in the order of the leases',
  },
  {
    name: 'renewMany revives expired leases',
    plant: (right) => ({
      async renewMany(leases) {
        for (const { key, owner, ttl } of leases) {
          if (await right.isExpired(key)) await right.acquire(key, owner, ttl, { resend: true });
        }
        return right.renewMany(leases);
      },
    }),
    foundBy: 'B50 renewMany never revives an expired lease',
  },
  {
    name: 'renewMany uses one ttl for all leases',
    plant: (right) => ({
      renewMany: (leases) =>
        right.renewMany(leases.map((lease) => ({ ...lease, ttl: leases[0]?.ttl ?? lease.ttl }))),
    }),
    foundBy: 'B51 renewMany gives each lease its own ttl',
  },
  {
    name: 'renewMany without leases is a syntax error',
    plant: (right) => ({
      async renewMany(leases) {
        if (leases.length === 0) throw new LockStoreError('syntax error at or near ")"');
        return right.renewMany(leases);
      },
    }),
    foundBy: 'B51 renewMany returns an empty list for an empty list of leases',
  },
  {
    name: 'renewMany ignores leases after the hundredth',
    plant: (right) => ({
      async renewMany(leases) {
        const outcomes = await right.renewMany(leases.slice(0, 100));
        return leases.map((_, index) => outcomes[index] ?? 'lost');
      },
    }),
    foundBy: 'B51 renewMany renews 500 leases at once',
  },
];

const inspection: PlantedBug[] = [
  {
    name: 'inspect creates a row for a new key',
    plant: (right) => ({
      async inspect(key) {
        if (!right.owners.has(key)) {
          await right.acquire(key, 'nobody', HOUR);
          await right.release(key, 'nobody');
        }
        return right.inspect(key);
      },
    }),
    foundBy:
      'B69 a key that was never locked is free, and inspecting, releasing or renewing it changes nothing',
  },
  {
    name: 'inspect shows an expiry for a lock that never expires',
    plant: (right) => ({
      async inspect(key) {
        const found = await right.inspect(key);
        if (found.state !== 'held' || found.holder.expiresAt) return found;
        return { ...found, holder: { ...found.holder, expiresAt: new Date(NEVER), remaining: NEVER } };
      },
    }),
    foundBy: 'B69 the inspection of a lock that never expires shows no end',
  },
  {
    name: 'inspect shows a kept key as free',
    plant: (right) => ({
      async inspect(key) {
        const found = await right.inspect(key);
        return found.lastRun ? { state: 'free', key, lastRun: found.lastRun } : found;
      },
    }),
    foundBy: 'B76 a key that its release keeps taken is shown as held, with the label of its last holder',
  },
  {
    name: 'inspect shows an expired lease as free',
    plant: (right) => ({
      async inspect(key) {
        const found = await right.inspect(key);
        return found.state === 'expired' ? { state: 'free', key, lastRun: found.lastRun } : found;
      },
    }),
    foundBy: 'B69 the inspection of an expired key still shows its last holder',
  },
  {
    name: 'inspect shows an expired lease as held',
    plant: (right) => ({
      async inspect(key) {
        const found = await right.inspect(key);
        return found.state === 'expired' ? { ...found, state: 'held' } : found;
      },
    }),
    foundBy: 'B69 the inspection of an expired key still shows its last holder',
  },
  {
    name: 'inspect shows a key as expired after keepFor has passed',
    plant: (right) => ({
      async inspect(key) {
        const found = await right.inspect(key);
        if (found.state !== 'free' || !found.lastRun) return found;
        const { label, startedAt, endedAt: expiresAt } = found.lastRun;
        const holder = {
          key,
          label,
          fencingToken: 1,
          startedAt,
          renewedAt: startedAt,
          expiresAt,
          remaining: 0,
        };
        return { ...found, state: 'expired', holder };
      },
    }),
    foundBy:
      'B76 a key that is released with keepFor is free after that time, and its run does not count as failed',
  },
  {
    name: 'inspect shows the owner',
    plant: (right) => ({
      inspect: async (key) => ({ ...(await right.inspect(key)), owner: right.owners.get(key) }),
    }),
    foundBy: 'B69 the inspection of a held key shows its holder, but not the owner id',
  },
  {
    name: 'inspect does not show the last run',
    plant: (right) => ({ inspect: async (key) => ({ ...(await right.inspect(key)), lastRun: undefined }) }),
    foundBy: 'B46 after a release, the inspection shows the last run with its outcome',
  },
  {
    name: 'inspect does not show the last run while the next one holds the key',
    plant: (right) => ({
      async inspect(key) {
        const found = await right.inspect(key);
        return found.state === 'held' ? { ...found, lastRun: undefined } : found;
      },
    }),
    foundBy: 'B46 while the next run holds the key, the inspection shows the last run too',
  },
  {
    name: 'every run counts as done',
    plant: (right) => ({
      release: (key, owner, end) => right.release(key, owner, { ...end, outcome: 'done' }),
    }),
    foundBy: 'B46 after a release, the inspection shows the last run with its outcome',
  },
  {
    name: 'an expired run ends at its take-over',
    plant: (right) => {
      const takenOver = new Map<string, Date>();
      return {
        async acquire(key, ...rest) {
          if (await right.isExpired(key)) takenOver.set(key, new Date(Date.now() + 100));
          return right.acquire(key, ...rest);
        },
        async inspect(key) {
          const found = await right.inspect(key);
          const endedAt = takenOver.get(key);
          return endedAt && found.lastRun ? { ...found, lastRun: { ...found.lastRun, endedAt } } : found;
        },
      };
    },
    foundBy: 'B46 a run whose lease expired counts as failed, and as ended when the lease expired',
  },
  {
    name: 'a forced release is not noticed by the holder',
    plant: (right) => {
      const forced = new Set<string>();
      return {
        async forceRelease(key) {
          forced.add(key);
          return right.forceRelease(key);
        },
        renew: async (key, owner, ttl) => (await right.renew(key, owner, ttl)) || forced.has(key),
      };
    },
    foundBy: 'B71 a forced release frees the key, and the holder can no longer renew or release it',
  },
  {
    name: 'every forced release returns true',
    plant: (right) => ({ forceRelease: async (key) => (await right.forceRelease(key)) || key !== '' }),
    foundBy: 'B71 a forced release of a free key returns false and stores nothing',
  },
  {
    name: 'a forced release does not free a kept key',
    plant: (right) => ({
      async forceRelease(key) {
        const kept = (await right.inspect(key)).lastRun !== undefined;
        return kept ? false : right.forceRelease(key);
      },
    }),
    foundBy:
      'B71 a forced release frees a key that a release keeps taken, and its last run keeps its outcome',
  },
  {
    name: 'inspect accepts an invalid key',
    plant: (right) => ({ inspect: (key) => right.inspect(asText(key)) }),
    foundBy: 'B41 inspect and forceRelease refuse an invalid key',
  },
];

const lists: PlantedBug[] = [
  {
    name: 'list contains released keys',
    plant: (right) => ({
      async list(request) {
        const page = await right.list(request);
        const [first] = page.locks;
        const released = [...right.owners.keys()].find(
          (key) => request.prefix && key.startsWith(request.prefix) && key.endsWith(':released'),
        );
        return first && released ? { ...page, locks: [...page.locks, { ...first, key: released }] } : page;
      },
    }),
    foundBy: 'B70 a list has held keys and keys that a release keeps taken, and no others',
  },
  {
    name: 'list shows the owners',
    plant: (right) => ({
      async list(request) {
        const page = await right.list(request);
        return { ...page, locks: page.locks.map((lock) => ({ ...lock, owner: right.owners.get(lock.key) })) };
      },
    }),
    foundBy: 'B70 a list has held keys and keys that a release keeps taken, and no others',
  },
  {
    name: 'list sorts by UTF-16 code units',
    plant: (right) => listInOrder(right, (a, b) => (a < b ? -1 : 1)),
    foundBy: 'B70 a list is sorted by the bytes of the keys, and its pages leave out no lock',
  },
  {
    name: 'list sorts by the rules of a language',
    plant: (right) => listInOrder(right, (a, b) => a.localeCompare(b, 'en')),
    foundBy: 'B70 a list is sorted by the bytes of the keys, and its pages leave out no lock',
  },
  {
    name: 'a page begins with the last lock of the page before',
    plant: (right) => ({
      list: (request) =>
        right.list({
          ...request,
          after: request.after && request.limit > 1 ? request.after.slice(0, -1) : request.after,
        }),
    }),
    foundBy: 'B70 a list is sorted by the bytes of the keys, and its pages leave out no lock',
  },
  {
    name: 'a full page is never the last page',
    plant: (right) => ({
      async list(request) {
        const page = await right.list(request);
        return page.locks.length === request.limit ? { ...page, next: page.locks.at(-1)?.key } : page;
      },
    }),
    foundBy: 'B70 a list is sorted by the bytes of the keys, and its pages leave out no lock',
  },
  {
    name: 'a page is empty when the key before it is free',
    plant: (right) => ({
      async list(request) {
        if (request.after === undefined) return right.list(request);
        return (await right.inspect(request.after)).state === 'held' ? right.list(request) : { locks: [] };
      },
    }),
    foundBy: 'B70 a list can go on after a key that is no longer held',
  },
  {
    name: 'list takes a prefix for a pattern',
    plant: (right) => ({
      list: (request) => right.list({ ...request, prefix: request.prefix?.replace(/[%_].*$/, '') }),
    }),
    foundBy: 'B70 a list takes every character of its prefix literally',
  },
  {
    name: 'list is empty without a prefix',
    plant: (right) => ({
      list: async (request) => (request.prefix === undefined ? { locks: [] } : right.list(request)),
    }),
    foundBy: 'B70 a list without a prefix has all held locks',
  },
  {
    name: 'list accepts a page of any length',
    plant: (right) => ({
      list: (request) => right.list({ ...request, limit: request.limit === 1001 ? 1000 : request.limit }),
    }),
    foundBy: 'B70 a list refuses a limit outside of 1 to 1000, and an invalid prefix or after',
  },
];

const purges: PlantedBug[] = [
  {
    name: 'a purge deletes keys that are held',
    plant: (right) => ({
      async purge(request) {
        const { locks } = await right.list({ prefix: request.prefix, limit: 1000 });
        for (const { key } of locks) await right.forceRelease(key);
        return right.purge(request);
      },
    }),
    foundBy: 'B72 a purge leaves held keys, and keys that a release keeps taken, whatever their age',
  },
  {
    name: 'a purge deletes keys that are kept',
    plant: (right) => ({
      async purge(request) {
        const { locks } = await right.list({ prefix: request.prefix, limit: 1000 });
        for (const { key } of locks)
          if ((await right.inspect(key)).lastRun !== undefined) await right.forceRelease(key);
        return right.purge(request);
      },
    }),
    foundBy: 'B72 a purge leaves held keys, and keys that a release keeps taken, whatever their age',
  },
  {
    name: 'a purge keeps expired leases',
    plant: (right) => ({
      async purge(request) {
        for (const [key, owner] of right.owners)
          if (request.prefix && key.startsWith(request.prefix) && (await right.isExpired(key)))
            await right.acquire(key, owner, HOUR);
        return right.purge(request);
      },
    }),
    foundBy: 'B72 a purge deletes released and expired keys with their last runs, and returns their number',
  },
  {
    name: 'a purge counts one row too many',
    plant: (right) => ({ purge: async (request) => (await right.purge(request)) + 1 }),
    foundBy: 'B72 a purge deletes released and expired keys with their last runs, and returns their number',
  },
  {
    name: 'a purge ignores the age',
    plant: (right) => ({ purge: ({ prefix }) => right.purge({ prefix, olderThan: 0 }) }),
    foundBy: 'B72 a purge deletes only keys that have not been used for olderThan',
  },
  {
    name: 'a purge ignores its prefix',
    plant: (right) => ({ purge: ({ olderThan }) => right.purge({ olderThan }) }),
    foundBy: 'B72 a purge touches only keys with its prefix, which is taken literally',
  },
  {
    name: 'a purge takes its prefix for a pattern',
    plant: (right) => ({
      purge: (request) => right.purge({ ...request, prefix: request.prefix?.replace(/[%_].*$/, '') }),
    }),
    foundBy: 'B72 a purge touches only keys with its prefix, which is taken literally',
  },
  {
    name: 'the token starts again after a purge',
    plant: (right) => {
      const last = new Map<string, number>();
      return {
        ...tokensMadeBy(right, (key) => {
          last.set(key, (last.get(key) ?? 0) + 1);
          return last.get(key) ?? 0;
        }),
        async purge(request) {
          const purged = await right.purge(request);
          if (purged > 0) last.clear();
          return purged;
        },
      };
    },
    foundBy: 'B72 each grant after a purge has a larger token, in all instances',
  },
  {
    name: 'a purge reads first and deletes later',
    plant: (right) => ({
      async purge(request) {
        const unused = new Set<string>();
        for (const key of right.owners.keys())
          if (request.prefix && key.startsWith(request.prefix) && (await right.remaining(key)) === 0)
            unused.add(key);
        // Waits until one of the keys is acquired again, because the bug would otherwise show
        // only by chance.
        const areHeld = async () =>
          (await Promise.all([...unused].map((key) => right.remaining(key)))).some((left) => left > 0);
        for (let turn = 0; turn < 50 && !(await areHeld()); turn++) await nextTurn();
        for (const key of unused) await right.forceRelease(key);
        return right.purge(request);
      },
    }),
    foundBy: 'B72 a counter under a lock loses no update while its key is purged, and tokens grow',
  },
  {
    name: 'a purge without an age deletes everything',
    plant: (right) => ({
      purge: (request) => right.purge({ ...request, olderThan: request.olderThan ?? 0 }),
    }),
    foundBy:
      'B72 a purge with an invalid prefix, or without a valid olderThan, is refused and deletes nothing',
  },
];

export const plantedBugs: PlantedBug[] = [
  ...acquiring,
  ...tokens,
  ...resending,
  ...renewing,
  ...releasing,
  ...releasingToWaiters,
  ...expiring,
  ...keys,
  ...racing,
  ...batches,
  ...sharedStatements,
  ...inspection,
  ...lists,
  ...purges,
  ...stealing,
  ...ticks,
  ...pauses,
];

function tokensMadeBy(right: RightStore, token: (key: string, right: number) => number): Partial<Port> {
  return {
    async acquire(key, ...rest) {
      const result = await right.acquire(key, ...rest);
      return result.acquired ? { acquired: true, fencingToken: token(key, result.fencingToken) } : result;
    },
  };
}

function keysReadAs(right: RightStore, read: (key: string) => string): Partial<Port> {
  return {
    acquire: async (key, ...rest) => right.acquire(read(key), ...rest),
    renew: async (key, owner, ttl) => right.renew(read(key), owner, ttl),
    release: async (key, ...rest) => right.release(read(key), ...rest),
  };
}

function ownersReadAs(right: RightStore, read: (owner: string) => string): Partial<Port> {
  return {
    acquire: async (key, owner, ...rest) => right.acquire(key, read(owner), ...rest),
    renew: async (key, owner, ttl) => right.renew(key, read(owner), ttl),
    release: async (key, owner, ...rest) => right.release(key, read(owner), ...rest),
  };
}

/**
 * Attempts on the same key, or on all keys, that run at the same time get the result of
 * `collision` instead of a lock. Other attempts are served correctly.
 */
function colliding(
  right: RightStore,
  collision: () => LockAcquireResult | Error,
  scope?: 'all keys',
): Partial<Port> {
  const running = new Map<string, number>();
  return {
    async acquire(key, ...rest) {
      const place = scope ?? key;
      running.set(place, (running.get(place) ?? 0) + 1);
      await nextTurn();
      const met = (running.get(place) ?? 0) > 1;
      await nextTurn();
      running.set(place, (running.get(place) ?? 0) - 1);
      if (!met) return right.acquire(key, ...rest);
      const end = collision();
      if (end instanceof Error) throw end;
      return end;
    },
  };
}

async function endOf(right: RightStore, key: string): Promise<number> {
  const remaining = await right.remaining(key);
  return remaining === Infinity ? NEVER : remaining;
}

function listInOrder(right: RightStore, order: (a: string, b: string) => number): Partial<Port> {
  return {
    async list({ limit, after, ...request }) {
      const all = (await right.list({ ...request, limit: 1000 })).locks.toSorted((a, b) =>
        order(a.key, b.key),
      );
      const rest = after === undefined ? all : all.filter(({ key }) => order(key, after) > 0);
      const locks = rest.slice(0, limit);
      return rest.length > limit ? { locks, next: locks.at(-1)?.key } : { locks };
    },
  };
}

function asText(value: unknown): string {
  return String(value);
}
