import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { LockStoreError } from '../../../lib/lock.errors.js';
import { fromPrisma, SqlLockStore } from '../../../lib/stores/sql/index.js';
import { type Target } from '../../servers/targets.js';
import { targetsAmong } from '../typeorm/fixture.js';
import { connect, leaveOpen, prismaClientOf } from './prisma.js';

const POOL = 3;

for (const { name, open } of targetsAmong('postgres', 'mariadb'))
  describe(`dirty connections in a pool of Prisma on ${name}`, () => {
    let target: Target;
    let observer: { store: SqlLockStore; end: () => Promise<void> };
    const ends: (() => Promise<void>)[] = [];
    beforeAll(async () => {
      target = await open();
      const { prisma, end } = await connected();
      observer = { store: new SqlLockStore(fromPrisma(prisma)), end };
      await observer.store.prepare();
      await prisma.$executeRawUnsafe('CREATE TABLE leftovers (id int)');
    });
    afterAll(async () => {
      for (const end of ends) await end();
      await target.dispose();
    });

    async function connected(): Promise<{ prisma: any; end: () => Promise<void> }> {
      const { adapter, end } = connect(target, POOL);
      const PrismaClient = await prismaClientOf(target);
      const prisma = new PrismaClient({ adapter });
      ends.push(async () => {
        await prisma.$disconnect();
        await end();
      });
      return { prisma, end };
    }

    /** Opens a store on clean connections, and makes each connection dirty afterwards. */
    async function dirtyStore(sql: string[] = []) {
      const { prisma } = await connected();
      const store = new SqlLockStore<any>(fromPrisma<any>(prisma));
      await store.prepare();
      const warnings: string[] = [];
      store.onWarning((_, message) => warnings.push(message));
      await leaveOpen(prisma, POOL);
      for (const statement of sql) await Promise.all(dirty(prisma, statement));
      return { prisma, store, warnings };
    }

    /** Runs the statement on all connections of the pool at the same time. */
    const dirty = (prisma: any, sql: string) =>
      Array.from({ length: POOL }, () => prisma.$executeRawUnsafe(sql));

    if (name === 'postgres')
      it('B83 the pool of pg closes connections in an open transaction, and the grant is made on a new connection', async () => {
        const { store, warnings } = await dirtyStore();
        expect(await store.acquire('closed', randomUUID(), 60_000)).toMatchObject({ acquired: true });
        expect(await observer.store.inspect('closed')).toMatchObject({ state: 'held' });
        expect(warnings[0]).toMatch(
          /in a transaction that the application left open.*tries another connection/,
        );
      });
    else
      it('B83 an acquisition on a connection in an open transaction fails with the cause, and may be retried', async () => {
        const { store } = await dirtyStore();
        const failure = await store.acquire('left', randomUUID(), 60_000).catch((error: unknown) => error);
        expect(failure).toBeInstanceOf(LockStoreError);
        expect(failure).toMatchObject({
          transient: true,
          message: expect.stringMatching(/in a transaction that the application left open/),
        });
        expect(await observer.store.inspect('left')).toMatchObject({ state: 'free' });
      });

    it('B83 no key is granted on a connection with autocommit off or in a failed transaction', async () => {
      const { prisma } = await connected();
      const store = new SqlLockStore<any>(fromPrisma<any>(prisma));
      await store.prepare();
      const spoil = name === 'postgres' ? 'BEGIN; SELECT 1/0' : 'SET autocommit = 0';
      await Promise.allSettled(dirty(prisma, spoil));
      const result = await store.acquire('spoiled', 'owner', 60_000).catch((error: unknown) => error);
      const seen = await observer.store.inspect('spoiled');
      if (name === 'postgres') expect([result, seen]).toMatchObject([{ acquired: true }, { state: 'held' }]);
      else
        expect([String(result), seen]).toMatchObject([
          expect.stringMatching(/autocommit off/),
          { state: 'free' },
        ]);
    });

    it('B77 a release never runs inside a transaction that the application left open', async () => {
      const { prisma } = await connected();
      const store = new SqlLockStore<any>(fromPrisma<any>(prisma));
      const owner = randomUUID();
      const granted = await store.acquire('kept', owner, 60_000);
      expect(granted).toMatchObject({ acquired: true });
      await leaveOpen(prisma, POOL);
      const released = await store.release('kept', owner).catch(() => 'failed');
      const state = (await observer.store.inspect('kept')).state;
      expect([released, state]).toEqual(name === 'postgres' ? [true, 'free'] : ['failed', 'held']);
    });

    it('B83 lock.transaction() does not commit what the application left uncommitted', async () => {
      const { store } = await dirtyStore(['INSERT INTO leftovers VALUES (1)']);
      await store.transaction(async (tx) => tx.$executeRawUnsafe('SELECT 1')).catch(() => undefined);
      const { prisma } = await connected();
      expect(await prisma.$queryRawUnsafe('SELECT id FROM leftovers')).toEqual([]);
    });

    if (name === 'postgres')
      it('B83 the lock table is not created inside a transaction that the application left open', async () => {
        const { prisma } = await connected();
        const right = fromPrisma<any>(prisma);
        const executor = Object.assign(Object.create(right) as typeof right, {
          transaction: async (work: (tx: any) => Promise<unknown>, options: any) =>
            right.transaction(async (tx: any) => {
              // Stands for a BEGIN inside the transaction, which would leave uncommitted work
              // in the same way.
              await tx.$executeRawUnsafe('INSERT INTO leftovers VALUES (2)');
              return work(tx);
            }, options),
        });
        const store = new SqlLockStore<any>(executor, { table: 'late_locks' });
        await expect(store.prepare()).rejects.toThrow(/in a transaction that the application left open/);
        expect(await prisma.$queryRawUnsafe('SELECT id FROM leftovers')).toEqual([]);
        expect(await prisma.$queryRawUnsafe("SELECT to_regclass('late_locks')::text AS made")).toEqual([
          { made: null },
        ]);
      });

    it('B90 the line that the store logs at its start lists the features that it lacks', async () => {
      const missing = name === 'postgres' ? 'wakeUps' : 'wakeUps,batches';
      expect(observer.store.describe()).toMatch(
        new RegExp(`^store=${name} client=Prisma table=\\S+ without=${missing}$`),
      );
    });
  });
