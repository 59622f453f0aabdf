import type { LockAcquireResult } from '../../lib/interfaces/lock-store.interface.js';
import { plantedBugs as bugsOfConformance } from '../stores/conformance-planted-bugs.js';
import type { StoreBug } from './simulated-database.js';

/** One changed line of the library. A bug may consist of several rows with the same name. */
export interface PlantedLine {
  name: string;
  /** The path of the file from the root of the repository. */
  file: string;
  /** The text without the bug, which has to occur exactly once in the file. */
  from: string;
  to: string;
  /** Other lock libraries that have had this bug. */
  seenIn?: string;
  /**
   * For bugs that take long to find: the number of a schedule of the default seed that shows
   * the bug. The number has to be updated when the library draws its random numbers in another
   * order.
   */
  seenInSchedule?: number;
}

/** The kinds of tests that have to find planted bugs. */
export type Layer = 'simulation' | 'conformance';

/** A bug of a store, or of a copy of the library with changed lines. */
export interface PlantedBug {
  name: string;
  /** The kinds of tests that have to find the bug: each of them has to. */
  foundBy: readonly Layer[];
  seenIn?: string;
  seenInSchedule?: number;
  store?: StoreBug;
  edits?: readonly PlantedLine[];
  /** The conformance case that has to find the bug. By default, any case may find it. */
  conformanceCase?: string;
}

const LEASE = 'lib/engine/lease.ts';
const RENEWER = 'lib/engine/lease-renewer.ts';
const KEEPER = 'lib/engine/lease-keeper.ts';
const RELEASER = 'lib/engine/lease-releaser.ts';
const ACQUISITION = 'lib/engine/acquisition.ts';
const ATTEMPTS = 'lib/engine/attempts.ts';
const QUEUE = 'lib/engine/wait-queue.ts';
const LOCK = 'lib/lock.ts';
const BATCHER = 'lib/stores/shared/batcher.ts';

const inStores: readonly PlantedBug[] = [
  {
    name: "the client's clock decides",
    seenIn: 'verrou, daiso',
    foundBy: ['simulation'],
    store: { clock: (client) => client.date() },
  },
  {
    name: 'a held key is granted: ON DUPLICATE KEY with FOUND_ROWS',
    foundBy: ['simulation', 'conformance'],
    store: {
      plant: (right) => ({
        async acquire(...request): Promise<LockAcquireResult> {
          const answer = await right.acquire(...request);
          const token = answer.acquired ? answer.fencingToken : answer.holder?.fencingToken;
          return token === undefined ? answer : { acquired: true, fencingToken: token };
        },
      }),
    },
  },
  {
    name: "a release reads the key's owner first and frees the key later",
    seenIn: 'verrou',
    foundBy: ['simulation', 'conformance'],
    store: {
      plant: (right, meanwhile) => ({
        async release(key, owner) {
          const own = right.owners.get(key) === owner && (await right.remaining(key)) > 0;
          await meanwhile();
          return own && right.forceRelease(key);
        },
      }),
    },
    seenInSchedule: 80,
  },
];

const inLeases: readonly PlantedLine[] = [
  {
    name: 'a lease has no deadline',
    file: LEASE,
    from: 'if (now >= this.#deadline) return false;',
    to: 'return true;',
  },
  {
    name: 'the deadline of a grant counts from its answer',
    file: ATTEMPTS,
    from: 'const { sentAt, asleep, drift } = sent;',
    to: 'const { sentAt, asleep, drift } = { ...sent, sentAt: clock.now() };',
    seenInSchedule: 31,
  },
  {
    name: 'the deadline of a renewal counts from its answer',
    file: LEASE,
    from: 'this.#renewed(sentAt - slept, drift + slept, ttl, before)',
    to: 'this.#renewed(this.clock.now() - slept, drift + slept, ttl, before)',
    seenInSchedule: 60,
  },
  {
    name: 'the deadline of a lease has no safety margin',
    file: LEASE,
    from: 'this.#deadline = grant.sentAt + settings.ttl - marginOf(settings.ttl)',
    to: 'this.#deadline = grant.sentAt + settings.ttl',
    seenInSchedule: 70,
  },
  {
    name: 'the deadline of a lease has no safety margin',
    file: LEASE,
    from: 'this.#deadline = sentAt + certain - marginOf(certain)',
    to: 'this.#deadline = sentAt + certain',
  },
  {
    name: 'a grant that is answered after its deadline counts',
    file: ATTEMPTS,
    from: 'if (!lease.held) {',
    to: 'if (false) {',
    seenInSchedule: 23,
  },
  {
    name: 'a renewal that is answered after the deadline counts',
    file: RENEWER,
    from: 'const inTime = this.clock.now() < lease.deadline;',
    to: 'const inTime = true;',
    seenInSchedule: 1303,
  },
  {
    name: 'a holder goes on although a renewal reports the lock as taken away',
    file: RENEWER,
    from: "if (lease.open) this.#lose(lease, 'the store says that the lease ran out or was taken away.');",
    to: '',
    seenInSchedule: 10,
  },
  {
    name: 'a shorter ttl counts only from its answer',
    file: LEASE,
    from: 'if (ttl < this.#ttl) {',
    to: 'if (false) {',
    seenInSchedule: 13,
  },
  {
    name: 'a request that failed is never carried out later',
    file: LEASE,
    from: "if (outcome === 'unknown')",
    to: 'if (false)',
    seenInSchedule: 35,
  },
  {
    name: 'a request that is answered late counts as the last that was carried out',
    file: LEASE,
    from: '|| sentAt < this.#confirmedAt',
    to: '',
    seenInSchedule: 357,
  },
  {
    name: 'a renewal forgets the requests that are under way beside it',
    file: LEASE,
    from: 'Math.min(ttl, before, this.#shortestPending())',
    to: 'ttl',
    seenInSchedule: 35,
  },
  {
    name: 'an acquisition that was sent again is forgotten',
    file: LEASE,
    from: 'if (grant.resent)',
    to: 'if (false)',
    seenInSchedule: 3565,
  },
  {
    name: 'a suspension is not noticed',
    file: LEASE,
    from: 'if (gap < SLEEP_TOLERANCE) return;',
    to: 'return;',
  },
  {
    name: 'a suspension is not noticed',
    file: LEASE,
    from: 'return now + (drift - this.#drift) >= this.#deadline;',
    to: 'return false;',
  },
  {
    name: 'only the next renewal notices a suspension',
    file: LEASE,
    from: 'return now + (drift - this.#drift) >= this.#deadline;',
    to: 'return false;',
  },
];

const inTransactions: readonly PlantedLine[] = [
  {
    name: 'a transaction commits even if its guard fails',
    file: LOCK,
    from: 'if (await this.#keeper.guard(this.#lease, context)) return value;',
    to: 'await this.#keeper.guard(this.#lease, context); return value;',
    seenInSchedule: 100,
  },
  {
    name: 'a transaction checks its lock in the process only',
    file: LOCK,
    from: 'if (await this.#keeper.guard(this.#lease, context)) return value;',
    to: 'return value;',
    seenInSchedule: 62,
  },
];

const inRequests: readonly PlantedLine[] = [
  {
    name: 'a release does not wait for the renewal under way',
    file: RELEASER,
    from: 'if (lease.pendingRequest) await lease.pendingRequest;',
    to: '',
    seenIn: 'django-database-locks, Redisson',
  },
  {
    name: 'each attempt that is sent again has a new owner',
    file: ATTEMPTS,
    from: 'const resend = this.#mayHold;',
    to: 'const resend = false;',
    seenInSchedule: 20,
  },
  {
    name: 'a call that ends without the lock does not free what it may have been granted',
    file: ATTEMPTS,
    from: 'if (this.#mayHold) this.#free(this.#owner);',
    to: '',
    seenInSchedule: 59,
  },
  {
    name: 'a lock that is granted after its call has ended is not freed',
    file: ATTEMPTS,
    from: 'if (acquired) this.attempts.granted(this.owner);',
    to: '',
    seenInSchedule: 480,
  },
  {
    name: 'any error counts as busy',
    file: ATTEMPTS,
    from: 'return this.request(this.owner, timeout, this.resend);',
    to: "return this.request(this.owner, timeout, this.resend).catch(() => ({ acquired: false, reason: 'held' }));",
    seenIn: 'verrou, Symfony Lock',
    seenInSchedule: 18,
  },
  {
    name: 'a repeated release counts only if it still finds the lock',
    file: RELEASER,
    from: 'released ||= repeated && believed;',
    to: '',
  },
];

const inReleasesToWaiters: readonly PlantedLine[] = [
  {
    name: 'the deadline of a release to a waiter counts from its answer',
    file: ATTEMPTS,
    from: 'return result.acquired ? this.#leaseOf(sent, result) : result;',
    to: 'return result.acquired ? this.#leaseOf(Object.assign(sent, { sent: sentNow(this.engine.clock) }), result) : result;',
    seenInSchedule: 1581,
  },
  {
    name: 'a lock that was released to a waiter whose call has ended is not freed',
    file: ATTEMPTS,
    from: 'else if (this.#abandoned || owner !==',
    to: 'else if (owner !==',
    seenInSchedule: 194,
  },
  {
    name: 'a waiter sleeps on after a lock was released to it',
    file: QUEUE,
    from: 'this.wake();\n        return taken;',
    to: 'return taken;',
  },
  {
    name: 'a lock is not released if its release to a waiter has an unknown outcome',
    file: RELEASER,
    from: 'isTaken || (guarded && !believed);',
    to: "taken !== 'refused' || (guarded && !believed);",
  },
  {
    name: 'a lock is not released if its release to a waiter was refused',
    file: RELEASER,
    from: 'isTaken || (guarded && !believed);',
    to: "(toWaiter && taken !== 'unknown') || (guarded && !believed);",
    seenInSchedule: 436,
  },
  {
    name: 'a lock that was released to a waiter is released once more',
    file: RELEASER,
    from: 'isTaken || (guarded && !believed);',
    to: 'guarded && !believed;',
  },
  {
    name: 'an unknown outcome of a release to a waiter counts as refused',
    file: ACQUISITION,
    from: "return refused ? 'refused' : 'unknown';",
    to: "return 'refused';",
  },
  {
    name: 'an error of the driver means that nothing was released to the waiter',
    file: ACQUISITION,
    from: 'refused = !mayBeCarriedOut(error);',
    to: 'refused = !(error instanceof LockStoreError && error.transient);',
    seenInSchedule: 101,
  },
];

const inBatches: readonly PlantedLine[] = [
  {
    name: 'a batch gives each request the answer of the next',
    file: BATCHER,
    from: 'const result = results[i];',
    to: 'const result = results[(i + 1) % batch.length];',
    seenInSchedule: 10,
  },
  {
    name: 'a batch drops an answer, and the request counts as refused',
    file: BATCHER,
    from: 'if (result !== undefined) waiting.resolve(result);',
    to: "if (result !== undefined) waiting.resolve(i > 0 ? result : { acquired: false, reason: 'held' });",
    seenInSchedule: 10,
  },
  {
    name: 'an unknown outcome of a batch counts as refused',
    file: BATCHER,
    from: 'for (const { request, reject } of batch) reject(this.senders.failureOf(request, error));',
    to: "for (const { resolve } of batch) resolve({ acquired: false, reason: 'held' });",
    seenInSchedule: 20,
  },
  {
    name: 'batches carry their keys in the order of arrival',
    file: BATCHER,
    from: '[...batch.keys()].toSorted()',
    to: '[...batch.keys()]',
    seenInSchedule: 190,
  },
  {
    name: 'a slow statement keeps later statements waiting',
    file: BATCHER,
    from: 'this.#lane.passSlow(Math.max(1, this.limits().connections - 1));',
    to: '',
    seenInSchedule: 10,
  },
  {
    name: 'a slow statement delays later requests for its keys',
    file: 'lib/stores/shared/lane.ts',
    from: 'statement.passed();',
    to: '',
    seenInSchedule: 10,
  },
];

const inLoops: readonly PlantedLine[] = [
  {
    name: 'a call that has ended stays in the queue',
    file: ACQUISITION,
    from: 'waiter.leave(lease !== undefined);',
    to: '',
  },
  {
    name: 'a call that has ended keeps its listener on the signal',
    file: ACQUISITION,
    from: "signal?.removeEventListener('abort', onAbort);",
    to: '',
  },
  {
    name: 'a wait keeps its timer after a wake-up',
    file: QUEUE,
    from: 'timer?.cancel();',
    to: '',
    seenInSchedule: 20,
  },
  {
    name: 'a request keeps its timer after its answer',
    file: 'lib/engine/time-limit.ts',
    from: 'timer.cancel();\n      try {',
    to: 'try {',
  },
  {
    name: 'a renewal that fails is not caught',
    file: RENEWER,
    from: 'unanswered = !final;',
    to: 'unanswered = !final; void Promise.reject(error);',
  },
  {
    name: 'a shutdown leaves the locks to their ttl',
    file: KEEPER,
    from: "void lock.giveBack('failed').catch(() => {});",
    to: '',
    seenInSchedule: 533,
  },
];

/** The names of bugs of the conformance suite that the simulation has to find, too. */
const HARMFUL = new Set([
  'every acquisition steals',
  'the same label is granted a held key',
  'the token starts again after a release',
  'a take-over keeps the token',
  'resend steals a held key',
  'renew by key only',
  'renew returns true and does nothing',
  'release by key only',
  'release returns true and frees nothing',
  'leases end after half of their ttl',
  'leases end only after a clean-up',
  'a take-over keeps the old owner',
  'a forced release is not noticed by the holder',
  'a purge deletes keys that are held',
  'a lock is released to a waiter with its token',
  'a release to a waiter ignores the owner',
  'the repeated request of a waiter is not recognized',
  'the token starts again after a purge',
]);

const unknown = [...HARMFUL].filter((harmful) => !bugsOfConformance.some(({ name }) => name === harmful));
if (unknown.length > 0) throw new Error(`The conformance suite plants no such bugs: ${unknown.join(', ')}.`);

/** For each bug in HARMFUL that takes long to find: the number of a schedule that shows it. */
const SEEN_IN_SCHEDULE = new Map([
  ['the repeated request of a waiter is not recognized', 2561],
  ['a forced release is not noticed by the holder', 36],
  ['renew by key only', 36],
]);

export const plantedBugs: readonly PlantedBug[] = [
  ...inStores,
  ...[...inLeases, ...inTransactions, ...inRequests, ...inReleasesToWaiters, ...inBatches, ...inLoops].reduce(
    addLine,
    [],
  ),
  ...bugsOfConformance.map(({ name, plant, foundBy }): PlantedBug => ({
    name,
    foundBy: HARMFUL.has(name) ? ['conformance', 'simulation'] : ['conformance'],
    store: { plant },
    seenInSchedule: SEEN_IN_SCHEDULE.get(name),
    conformanceCase: foundBy,
  })),
];

function addLine(bugs: PlantedBug[], line: PlantedLine): PlantedBug[] {
  const last = bugs.at(-1);
  if (last?.name === line.name)
    return [...bugs.slice(0, -1), { ...last, edits: [...(last.edits ?? []), line] }];
  const { name, seenIn, seenInSchedule } = line;
  return [...bugs, { name, seenIn, seenInSchedule, foundBy: ['simulation'], edits: [line] }];
}
