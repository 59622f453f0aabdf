import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Collection, Db, Document } from 'mongodb';
import type { LockInspection } from '../../../lib/interfaces/lock-record.interface.js';
import type { Instance } from '../../processes/instances.js';
import { MongodbInstances, type MongodbInstanceOptions } from '../../processes/mongodb-instances.js';
import { mongodRunsHere } from '../../servers/mongod-program.mjs';
import {
  startReplicaSet,
  type ReplicaSet,
  type ReplicaSetMember,
} from '../../servers/mongodb-replica-set.mjs';
import {
  findingsIn,
  holdsOf,
  nothingFound,
  writesOf,
  type Ledger,
  type WorkReport,
} from './failover-findings.js';
import { MongoClient, mongodbIsSelected } from './fixture.js';
import { newKey } from '../keys.js';

/**
 * The ttl, in milliseconds. It is shorter than an election, so that the holder's lease expires
 * whenever the primary is lost.
 */
const TTL = 1_500;
const WAYS = ['plain', 'fenced', 'transaction'] as const;
const DATABASE = 'failover';
/**
 * The time limit of a test, in milliseconds: a member whose source is frozen may need half a
 * minute to find another source.
 */
const PATIENCE = 90_000;

type Worker = (typeof workers)[number];

/** Workers with both versions of the driver, each with and without the driver's own retry. */
const workers = (['plain', 'fenced', 'plain', 'transaction'] as const).flatMap((way, i) =>
  (['mongodb', 'mongodb6'] as const).map((driver) => ({
    way,
    driver,
    label: `worker-${driver}-${way}-${i}`,
    // A plain write that the driver delays could arrive after the loss of the lock, so the
    // driver gives up before there is another primary.
    clientOptions: way === 'plain' ? { retryWrites: false, serverSelectionTimeoutMS: 1_000 } : {},
    probing: i === 0 || i === 3,
  })),
);

if (mongodbIsSelected())
  if (mongodRunsHere()) describeFailOver();
  else
    it('a machine without a mongod starts no replica set', () => {
      expect(mongodRunsHere()).toBe(false);
    });

function describeFailOver() {
  describe('a replica set of three members that fails over', () => {
    const instances = new MongodbInstances();
    const all: (Worker & { instance: Instance })[] = [];
    let set: ReplicaSet;
    let client: InstanceType<typeof MongoClient>;
    let ledgers: Collection<Ledger>;

    const start = (label: string, options: Partial<MongodbInstanceOptions> = {}) =>
      instances.start(
        {
          url: set.url,
          databaseName: DATABASE,
          driver: 'mongodb',
          ttl: TTL,
          retry: { min: 10, max: 100 },
          ...options,
        },
        label,
      );

    /**
     * Returns a worker. Workers with even numbers have the newer driver, and the first two
     * have drivers that do not retry.
     */
    const worker = (i: number): Instance => all[i]!.instance;

    beforeAll(async () => {
      set = await startReplicaSet();
      client = await new MongoClient(set.url).connect();
      // The collections are created before the workers start: a mongod under Wine does not
      // survive simultaneous creations.
      const database = client.db(DATABASE);
      await database.createCollection('locks', { writeConcern: { w: 'majority' } });
      ledgers = await database.createCollection<Ledger>('ledgers', { writeConcern: { w: 'majority' } });
      const started = workers.map(async (options) => ({
        ...options,
        instance: await start(options.label, {
          driver: options.driver,
          clientOptions: options.clientOptions,
        }),
      }));
      all.push(...(await Promise.all(started)));
    }, 120_000);
    afterAll(async () => {
      await instances.killAll();
      await client.close();
      await set.stop();
    });

    it('B40 workers without a lock lose updates, which the test counts', async () => {
      await Promise.all(all.map(({ instance }) => instance.ask('disable')));
      const plain = all.filter(({ way }) => way === 'plain');
      const enable = () => Promise.all(all.map(({ instance }) => instance.ask('enable')));
      const counted = await count('unlocked', plain, async () => {}, 0).catch(async (error: unknown) => {
        await enable();
        throw error;
      });
      await enable();
      const { findings } = counted;
      expect(findings.lostUpdates).not.toEqual([]);
      expect(findings.doubles).not.toEqual([]);
      expect(findings.tokensThatDoNotGrow).not.toEqual([]);
    });

    it(
      'B55 a holder learns of its loss before the key is granted again, although the frozen primary never answers',
      async () => {
        const [holder, other, thief, newcomer] = [worker(0), worker(1), worker(2), worker(3)];
        const key = newKey();
        const before = await holder.ask<Grant>('acquire', { key, ttl: '1s' });
        const waiting = thief.ask<Grant>('acquire', { key, ttl: '1s', wait: '60s' });
        const [loss, after, next] = await whileFrozen(await set.primary(), async () => {
          const attempts = [other, newcomer].map((instance) =>
            instance.ask('acquire', { key: newKey(), ttl: '1s' }),
          );
          // An attempt without an answer rejects with an error that does not call the key
          // busy, because the holder is unknown.
          for (const attempt of await Promise.allSettled(attempts))
            expect(attempt).toMatchObject({
              status: 'rejected',
              reason: { message: expect.stringMatching(/^LockStoreError: /) },
            });
          const lost = await holder.ask<Loss>('loss', { key });
          const granted = await waiting;
          const { holder: record } = await thief.ask<HeldLock>('inspect', { key });
          return [lost, granted, record] as const;
        });

        expect(loss.held).toBe(false);
        expect(loss.lostAt).toBeLessThan(after.grantedAt);
        // The clock that granted the next lock has to show a later time than the loss.
        expect(loss.date).toBeLessThan(new Date(next.startedAt).getTime());
        expect(after.fencingToken).toBeGreaterThan(before.fencingToken);
        await expect(holder.ask('release', { key })).resolves.toBe(false);
        await expect(thief.ask('held', { key })).resolves.toBe(true);
        await expect(thief.ask('release', { key })).resolves.toBe(true);
      },
      PATIENCE,
    );

    it(
      'B40 eight workers lose no update while the primary is frozen for longer than the ttl',
      async () => {
        const result = await count('frozen', all, (primary) =>
          whileFrozen(primary, () => Promise.race(all.map((one) => progress([one])))),
        );
        expect(result.findings).toEqual(nothingFound);
        expect(Object.keys(result.probes)).not.toContain('LockNotAcquiredError');
        process.stdout.write(`${result.figures}\n`);
      },
      PATIENCE,
    );

    it(
      'B55 a renewal during a step-down does not lose a lease that outlasts the election',
      async () => {
        // The first four workers use both versions of the driver, with and without the
        // driver's own retry.
        const holders = [all[0]!, all[1]!, all[2]!, all[3]!];
        const key = (label: string) => `renewed-${label}`;
        const grants = await Promise.all(
          holders.map(({ instance, label }) =>
            instance.ask<Grant>('acquire', { key: key(label), ttl: '15s', renewEvery: '300ms' }),
          ),
        );
        const primary = await set.primary();
        // The server blocks one renewal of each holder until the member is no longer primary.
        const steppedDownAt = await onMember(primary, async (admin) => {
          const { count: before } = await admin.command({
            configureFailPoint: 'failCommand',
            mode: { times: holders.length },
            data: { failCommands: ['update'], blockConnection: true, blockTimeMS: 2_000 },
          });
          const timesEntered = before + holders.length;
          await admin.command({ waitForFailPoint: 'failCommand', timesEntered, maxTimeMS: 20_000 });
          const { localTime } = await admin.command({ hello: 1 });
          await admin.command({ replSetStepDown: 10, secondaryCatchUpPeriodSecs: 5 });
          return localTime;
        });

        expect((await set.primary()).host).not.toBe(primary.host);
        for (const [i, { instance, label }] of holders.entries()) {
          const { holder } = await renewedSince(instance, key(label), steppedDownAt);
          expect(holder.fencingToken).toBe(grants[i]!.fencingToken);
          await expect(instance.ask('held', { key: key(label) })).resolves.toBe(true);
          await expect(instance.ask('release', { key: key(label) })).resolves.toBe(true);
        }
        await untilWhole();
      },
      PATIENCE,
    );

    it(
      'B75 a grant without a majority is refused, since the next primary may not know of the grant',
      async () => {
        const [holder, thief] = [worker(0), worker(2)];
        const careless = await start('careless', { writeConcern: { w: 1 } });
        const primary = await set.primary();
        const others = set.members.filter((member) => member !== primary);
        const [key, keyOfOne] = [newKey(), newKey()];
        const resume = () => Promise.all(others.map((member) => resumeReplication(member)));
        let before: Grant;
        try {
          await Promise.all(others.map((member) => stopReplication(member)));
          const refused = holder.ask('acquire', { key, ttl: '6s' });
          await expect(refused).rejects.toThrow(/^LockStoreError: /);
          before = await careless.ask<Grant>('acquire', { key: keyOfOne, ttl: '10m' });
        } catch (error) {
          await resume();
          throw error;
        }
        const after = await whileFrozen(primary, async () => {
          // Waits for the new primary first: before its election, the other members would try
          // for half a minute to catch up with the frozen member.
          await set.primary();
          await resume();
          await thief.ask('acquire', { key, wait: '30s' });
          return thief.ask<Grant>('acquire', { key: keyOfOne, wait: '30s' });
        });

        // Both processes now regard themselves as holders, because the first grant had no
        // majority. The token of the second one is greater all the same.
        expect(after.fencingToken).toBeGreaterThan(before.fencingToken);
        await expect(careless.ask('held', { key: keyOfOne })).resolves.toBe(true);
        await expect(thief.ask('held', { key: keyOfOne })).resolves.toBe(true);
        await expect(careless.ask('release', { key: keyOfOne })).resolves.toBe(false);
        await expect(thief.ask('release', { key: keyOfOne })).resolves.toBe(true);
        await expect(thief.ask('release', { key })).resolves.toBe(true);
      },
      PATIENCE,
    );

    it(
      'B40 eight workers lose no update when the primary is killed, and go on after the election',
      async () => {
        const result = await count('killed', all, (primary) => primary.kill());
        expect(result.findings).toEqual(nothingFound);
        expect(Object.keys(result.probes)).not.toContain('LockNotAcquiredError');
        process.stdout.write(`${result.figures}\n`);
      },
      PATIENCE,
    );

    /**
     * Lets the workers work before, during and after the fault, and returns the violations
     * that they caused.
     */
    async function count(
      run: string,
      chosen: typeof all,
      fault: (primary: ReplicaSetMember) => Promise<unknown>,
      pause = 200,
    ) {
      const pages = WAYS.map((way) => ({ _id: `${run}-${way}`, value: 0, token: 0, entries: [] }));
      await ledgers.insertMany(pages, { writeConcern: { w: 'majority' } });
      await Promise.all(
        chosen.map(({ instance, way, probing }) => instance.ask('count', { run, way, probing, pause })),
      );
      await progress(chosen);
      const primary = await set.primary();
      // The workers measure with the same monotonic clock.
      const at = Number(process.hrtime.bigint()) / 1e6;
      await fault(primary);
      await progress(chosen);
      const reports = await Promise.all(chosen.map(({ instance }) => instance.ask<WorkReport>('report')));
      const found = await ledgers
        .find({ _id: { $in: pages.map(({ _id }) => _id) } }, { readConcern: { level: 'majority' } })
        .toArray();
      const findings = findingsIn(reports, found);
      return {
        findings,
        probes: sum(reports.map((report) => report.probes)),
        figures: figuresOf(run, at, reports, found),
      };
    }

    /**
     * Runs `work` while the primary is frozen, then waits until all members are in service
     * again.
     */
    async function whileFrozen<T>(primary: ReplicaSetMember, work: () => Promise<T>): Promise<T> {
      primary.freeze();
      try {
        return await work();
      } finally {
        primary.resume();
        await untilWhole();
      }
    }

    /** Resolves when every member is the primary or a secondary. */
    async function untilWhole(): Promise<void> {
      for (;;) {
        const { members } = await onMember(await set.primary(), (admin) =>
          admin.command({ replSetGetStatus: 1 }),
        );
        if (members.every(({ stateStr }: Document) => /^(PRIMARY|SECONDARY)$/.test(stateStr))) return;
        await sleep(50);
      }
    }
  });
}

interface Grant {
  fencingToken: number;
  grantedAt: number;
}

interface Loss {
  lostAt: number;
  date: number;
  held: boolean;
}

type HeldLock = Exclude<LockInspection, { state: 'free' }>;

/** Resolves when each of these workers has made further entries. */
async function progress(chosen: readonly { instance: Instance }[], times = 2): Promise<void> {
  await Promise.all(chosen.map(({ instance }) => instance.ask('counted', { times })));
}

async function renewedSince(instance: Instance, key: string, date: Date): Promise<HeldLock> {
  for (;;) {
    const found = await instance.ask<LockInspection>('inspect', { key });
    if (found.state !== 'held') throw new Error(`the lock "${key}" is ${found.state}`);
    if (new Date(found.holder.renewedAt) > date) return found;
  }
}

/** Keeps writes from reaching this member as soon as the promise resolves. */
async function stopReplication(member: ReplicaSetMember): Promise<void> {
  await onMember(member, async (admin) => {
    const { count } = await admin.command({ configureFailPoint: 'stopReplProducer', mode: 'alwaysOn' });
    await admin.command({ waitForFailPoint: 'stopReplProducer', timesEntered: count + 1, maxTimeMS: 20_000 });
  });
}

async function resumeReplication(member: ReplicaSetMember): Promise<void> {
  await onMember(member, (admin) => admin.command({ configureFailPoint: 'stopReplProducer', mode: 'off' }));
}

async function onMember<T>({ url }: ReplicaSetMember, work: (admin: Db) => Promise<T>): Promise<T> {
  const client = await new MongoClient(url).connect();
  try {
    return await work(client.db('admin'));
  } finally {
    await client.close();
  }
}

/** Returns the figures of a run as one line. */
function figuresOf(
  run: string,
  faultAt: number,
  reports: readonly WorkReport[],
  found: readonly Ledger[],
): string {
  const all = holdsOf(reports);
  const gaps = all
    .slice(1)
    .map(({ from }, i) => ({ length: from - all[i]!.from, to: from }))
    .filter(({ to }) => to > faultAt);
  const gap = gaps.toSorted((a, b) => b.length - a.length)[0] ?? { length: 0, to: faultAt };
  const waits = reports
    // Workers that held the lock only before the fault are left out.
    .flatMap(({ holds }) => holds.find(({ from }) => from >= gap.to)?.from ?? [])
    .map((from) => from - faultAt)
    .toSorted((a, b) => a - b);
  const made = new Set(found.flatMap(({ entries }) => entries.map(({ id }) => id)));
  const unknown = writesOf(reports, 'unknown');
  const before = all.filter(({ from }) => from < gap.to).length;
  const ms = (time: number | undefined): string => `${Math.round(time ?? 0)} ms`;
  return [
    `primary ${run}: ${before} acquisitions before and ${all.length - before} after`,
    `nobody had the lock for ${ms(gap.length)}`,
    `a worker had it again ${ms(waits[waits.length >> 1])} (p50), ${ms(waits.at(-1))} (max) after the fault`,
    `${writesOf(reports, 'acknowledged').length} entries acknowledged, of ${unknown.length} unknown ones ${unknown.filter((id) => made.has(id)).length} there, ${writesOf(reports, 'refused').length} refused`,
    `errors ${JSON.stringify(sum(reports.map(({ errors }) => errors)))}`,
    `single attempts ${JSON.stringify(sum(reports.map(({ probes }) => probes)))}`,
  ].join('; ');
}

function sum(records: readonly Record<string, number>[]): Record<string, number> {
  const total: Record<string, number> = {};
  for (const [name, number] of records.flatMap((record) => Object.entries(record)))
    total[name] = (total[name] ?? 0) + number;
  return total;
}
