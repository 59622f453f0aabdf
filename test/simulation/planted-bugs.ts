import type { LockAcquireResult } from '../../lib/interfaces/lock-store.interface.js';
import { plantedBugs as bugsOfConformance } from '../stores/conformance-planted-bugs.js';
import type { StoreBug } from './simulated-database.js';

/** A line of the library that is different in the copy that has the bug. */
export interface Edit {
  /** From the root of the repository. */
  file: string;
  /** What stands there now, exactly once. */
  from: string;
  to: string;
}

/** What looks for bugs. */
export type Layer = 'simulation' | 'conformance';

/** A bug that has to be found: in the store, or in a copy of the library in which lines are different. */
export interface PlantedBug {
  name: string;
  /** Whose bug it was. */
  seenIn?: string;
  /** Each of them has to find it. */
  foundBy: readonly Layer[];
  store?: StoreBug;
  edits?: readonly Edit[];
  /** Where it takes long to find: the schedule of the usual seed in which it is seen, as long as the library draws the same chances. */
  seenInSchedule?: number;
  /** The conformance case that finds it; any may when none is named. */
  conformanceCase?: string;
}

const LEASE = 'lib/engine/lease.ts';
const RENEWER = 'lib/engine/lease-renewer.ts';
const KEEPER = 'lib/engine/lease-keeper.ts';
const RELEASER = 'lib/engine/lease-releaser.ts';
const ACQUISITION = 'lib/engine/acquisition.ts';
const ATTEMPTS = 'lib/engine/attempts.ts';
const QUEUE = 'lib/engine/wait-queue.ts';

const inStores: PlantedBug[] = [
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
    name: 'a release reads whose lock it is, then frees the key',
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
  },
];

const inBeliefs: PlantedBug[] = [
  {
    name: 'a lease has no deadline',
    edits: [
      {
        file: LEASE,
        from: 'if (now >= this.#deadline) return false;',
        to: 'return true;',
      },
    ],
  },
  {
    name: 'the deadline of a grant counts from its answer',
    edits: [
      {
        file: ATTEMPTS,
        from: 'const { sentAt, asleep, drift } = sent;',
        to: 'const { sentAt, asleep, drift } = { ...sent, sentAt: clock.now() };',
      },
    ],
  },
  {
    name: 'the deadline of a renewal counts from its answer',
    edits: [
      {
        file: LEASE,
        from: 'this.#renewed(sentAt - slept, drift + slept, ttl, before)',
        to: 'this.#renewed(this.clock.now() - slept, drift + slept, ttl, before)',
      },
    ],
  },
  {
    name: 'a lease is believed to its very end',
    edits: [
      {
        file: LEASE,
        from: 'this.#deadline = grant.sentAt + settings.ttl - marginOf(settings.ttl)',
        to: 'this.#deadline = grant.sentAt + settings.ttl',
      },
      {
        file: LEASE,
        from: 'this.#deadline = sentAt + certain - marginOf(certain)',
        to: 'this.#deadline = sentAt + certain',
      },
    ],
  },
  {
    name: 'a grant that is answered after its deadline counts',
    edits: [{ file: ATTEMPTS, from: 'if (!lease.held) {', to: 'if (false) {' }],
  },
  {
    name: 'a renewal that is answered after the deadline counts',
    seenInSchedule: 1303,
    edits: [
      {
        file: RENEWER,
        from: 'const inTime = this.clock.now() < lease.deadline;',
        to: 'const inTime = true;',
      },
    ],
  },
  {
    name: 'a holder goes on that is told that its lock was taken away',
    edits: [
      {
        file: RENEWER,
        from: `if (lease.open) this.#lose(lease, 'the store says that it ran out or was taken away.');`,
        to: '',
      },
    ],
  },
  {
    name: 'a shorter ttl counts from its answer only',
    edits: [{ file: LEASE, from: 'if (ttl < this.#ttl) {', to: 'if (false) {' }],
  },
  {
    name: 'a request that failed is never carried out later',
    edits: [{ file: LEASE, from: "if (outcome === 'unknown')", to: 'if (false)' }],
  },
  {
    name: 'a request that is answered late counts as the last one carried out',
    edits: [{ file: LEASE, from: `|| sentAt < this.#confirmedAt`, to: '' }],
  },
  {
    name: 'what is on its way together with a renewal is forgotten',
    edits: [{ file: LEASE, from: 'Math.min(ttl, before, this.#shortestPending())', to: 'ttl' }],
  },
  {
    name: 'an acquisition that was sent again is forgotten',
    seenInSchedule: 3565,
    edits: [{ file: LEASE, from: 'if (grant.resent)', to: 'if (false)' }],
  },
  {
    name: 'a suspension is not noticed',
    edits: [
      { file: LEASE, from: 'if (gap < SLEEP_TOLERANCE) return;', to: 'return;' },
      { file: LEASE, from: 'return now + (drift - this.#drift) >= this.#deadline;', to: 'return false;' },
    ],
  },
  {
    name: 'a suspension is noticed by the next renewal only',
    edits: [
      { file: LEASE, from: 'return now + (drift - this.#drift) >= this.#deadline;', to: 'return false;' },
    ],
  },
].map(inLibrary);

const inTransactions: PlantedBug[] = [
  {
    name: 'a transaction commits whatever its guard says',
    edits: [
      {
        file: 'lib/lock.ts',
        from: 'if (await this.#keeper.guard(this.#lease, context)) return value;',
        to: 'await this.#keeper.guard(this.#lease, context); return value;',
      },
    ],
  },
  {
    name: 'a transaction looks at its lock in the process only',
    edits: [
      {
        file: 'lib/lock.ts',
        from: 'if (await this.#keeper.guard(this.#lease, context)) return value;',
        to: 'return value;',
      },
    ],
  },
].map(inLibrary);

const inRequests: PlantedBug[] = [
  {
    name: 'a release does not wait for the renewal on its way',
    seenIn: 'django-database-locks, Redisson',
    edits: [{ file: RELEASER, from: 'if (lease.pendingRequest) await lease.pendingRequest;', to: '' }],
  },
  {
    name: 'each attempt that is sent again has a new owner',
    edits: [{ file: ATTEMPTS, from: 'const resend = this.#mayHold;', to: 'const resend = false;' }],
  },
  {
    name: 'what a call may have been granted stays when it ends without the lock',
    edits: [{ file: ATTEMPTS, from: 'if (this.#mayHold) this.#free(this.#owner);', to: '' }],
  },
  {
    name: 'what is granted after the call has ended stays',
    edits: [{ file: ATTEMPTS, from: 'if (acquired) this.attempts.granted(this.owner);', to: '' }],
  },
  {
    name: 'any error counts as busy',
    seenIn: 'verrou, Symfony Lock',
    edits: [
      {
        file: ATTEMPTS,
        from: 'return this.request(this.owner, timeout, this.resend);',
        to: `return this.request(this.owner, timeout, this.resend).catch(() => ({ acquired: false, reason: 'held' }));`,
      },
    ],
  },
  {
    name: 'a release that is repeated has to find the lock',
    edits: [{ file: RELEASER, from: 'released ||= repeated && believed;', to: '' }],
  },
].map(inLibrary);

const inReleasesToWaiters: PlantedBug[] = [
  {
    name: 'the deadline of a release to a waiter counts from its answer',
    seenInSchedule: 1581,
    edits: [
      {
        file: ATTEMPTS,
        from: 'return result.acquired ? this.#leaseOf(sent, result) : result;',
        to: 'return result.acquired ? this.#leaseOf(Object.assign(sent, { sent: sentNow(this.engine.clock) }), result) : result;',
      },
    ],
  },
  {
    name: 'what is released to a waiter whose call has ended stays',
    edits: [{ file: ATTEMPTS, from: 'else if (this.#abandoned || owner !==', to: 'else if (owner !==' }],
  },
  {
    name: 'a waiter that a lock was released to sleeps on',
    edits: [{ file: QUEUE, from: 'this.wake();\n        return taken;', to: 'return taken;' }],
  },
  {
    name: 'a lock that may have been released to a waiter is not released',
    edits: [
      {
        file: RELEASER,
        from: 'isTaken || (guarded && !believed);',
        to: `taken !== 'refused' || (guarded && !believed);`,
      },
    ],
  },
  {
    name: 'a lock whose release to a waiter was refused is not released',
    seenInSchedule: 436,
    edits: [
      {
        file: RELEASER,
        from: 'isTaken || (guarded && !believed);',
        to: `(toWaiter && taken !== 'unknown') || (guarded && !believed);`,
      },
    ],
  },
  {
    name: 'a lock that was released to a waiter is released once more',
    edits: [{ file: RELEASER, from: 'isTaken || (guarded && !believed);', to: 'guarded && !believed;' }],
  },
  {
    name: 'a lock that may have been released to a waiter has to be found by its release',
    edits: [{ file: ACQUISITION, from: `return refused ? 'refused' : 'unknown';`, to: `return 'refused';` }],
  },
  {
    name: 'an error of the driver means that nothing was released to the waiter',
    edits: [
      {
        file: ACQUISITION,
        from: 'refused = !mayBeCarriedOut(error);',
        to: 'refused = !(error instanceof LockStoreError && error.transient);',
      },
    ],
  },
].map(inLibrary);

const BATCHER = 'lib/stores/shared/batcher.ts';

const inBatches: PlantedBug[] = [
  {
    name: 'a batch gives each request the answer of the next',
    edits: [
      {
        file: BATCHER,
        from: 'const result = results[i];',
        to: 'const result = results[(i + 1) % batch.length];',
      },
    ],
  },
  {
    name: 'a batch drops an answer, and the request counts as refused',
    edits: [
      {
        file: BATCHER,
        from: 'if (result !== undefined) waiting.resolve(result);',
        to: `if (result !== undefined) waiting.resolve(i > 0 ? result : { acquired: false, reason: 'held' });`,
      },
    ],
  },
  {
    name: 'an unknown outcome of a batch counts as refused',
    seenInSchedule: 20,
    edits: [
      {
        file: BATCHER,
        from: 'for (const { request, reject } of batch) reject(this.senders.failureOf(request, error));',
        to: `for (const { resolve } of batch) resolve({ acquired: false, reason: 'held' });`,
      },
    ],
  },
  {
    name: 'batches carry their keys in the order in which they came',
    seenInSchedule: 190,
    edits: [{ file: BATCHER, from: '[...batch.keys()].toSorted()', to: '[...batch.keys()]' }],
  },
  {
    name: 'a slow statement holds the lane',
    edits: [
      {
        file: BATCHER,
        from: 'this.#lane.passSlow(Math.max(1, this.limits().connections - 1));',
        to: '',
      },
    ],
  },
  {
    name: 'a slow statement holds up later requests for its keys',
    edits: [{ file: 'lib/stores/shared/lane.ts', from: 'statement.passed();', to: '' }],
  },
].map(inLibrary);

const inLoops: PlantedBug[] = [
  {
    name: 'a call that ends stays in the queue',
    edits: [{ file: ACQUISITION, from: 'waiter.leave(lease !== undefined);', to: '' }],
  },
  {
    name: 'a call that ends keeps its listener on the signal',
    edits: [{ file: ACQUISITION, from: `signal?.removeEventListener('abort', onAbort);`, to: '' }],
  },
  {
    name: 'a wait keeps its timer when it is woken',
    edits: [{ file: QUEUE, from: 'timer?.cancel();', to: '' }],
  },
  {
    name: 'a request keeps its timer when it is answered',
    edits: [
      {
        file: 'lib/engine/time-limit.ts',
        from: 'timer.cancel();\n      try {',
        to: 'try {',
      },
    ],
  },
  {
    name: 'a renewal that fails is not caught',
    edits: [
      {
        file: RENEWER,
        from: 'unanswered = !final;',
        to: 'unanswered = !final; void Promise.reject(error);',
      },
    ],
  },
  {
    name: 'a shutdown leaves the locks to their ttl',
    seenInSchedule: 533,
    edits: [{ file: KEEPER, from: `void lock.giveBack('failed').catch(() => {});`, to: '' }],
  },
].map(inLibrary);

/** Those of the bugs planted for the conformance suite that an application suffers from in a simulated world, too. */
const HARMFUL = new Set([
  'any acquire steals',
  'the same label enters again',
  'the token begins again after a release',
  'a take-over keeps the token',
  'resend takes any key',
  'renew by key only',
  'renew says true and does nothing',
  'release by key only',
  'release says true and frees nothing',
  'leases are cut short',
  'leases end only after a clean-up',
  'an expired take-over keeps the old owner',
  'a forced release is not noticed by the holder',
  'a purge deletes keys that are held',
  'a lock is released to a waiter with its token',
  'a release to a waiter looks at the key only',
  'a waiter is not known when it asks again',
  'the token begins again after a purge',
]);

const unknown = [...HARMFUL].filter((harmful) => !bugsOfConformance.some(({ name }) => name === harmful));
if (unknown.length > 0) throw new Error(`The conformance suite plants no such bugs: ${unknown.join(', ')}.`);

/** Of those, what takes long to find. */
const SEEN_IN_SCHEDULE = new Map([['a waiter is not known when it asks again', 2561]]);

export const plantedBugs: readonly PlantedBug[] = [
  ...inStores,
  ...inBeliefs,
  ...inTransactions,
  ...inRequests,
  ...inReleasesToWaiters,
  ...inBatches,
  ...inLoops,
  ...bugsOfConformance.map(({ name, plant, foundBy }): PlantedBug => ({
    name,
    foundBy: HARMFUL.has(name) ? ['conformance', 'simulation'] : ['conformance'],
    store: { plant },
    seenInSchedule: SEEN_IN_SCHEDULE.get(name),
    conformanceCase: foundBy,
  })),
];

function inLibrary(bug: Omit<PlantedBug, 'foundBy'>): PlantedBug {
  return { ...bug, foundBy: ['simulation'] };
}
