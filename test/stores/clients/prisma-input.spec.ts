import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { PrismaBetterSqlite3 } from '@prisma/adapter-better-sqlite3';
import { PrismaMariaDb } from '@prisma/adapter-mariadb';
import { PrismaPg } from '@prisma/adapter-pg';
import { LockError } from '../../../lib/lock.errors.js';
import { fromPrisma, SqlLockStore } from '../../../lib/stores/sql/index.js';
import { sqlTargets, type Target } from '../../servers/targets.js';
import { serverOf } from './client-kind.js';
import { connect, prismaClientOf } from './prisma.js';

const targets = sqlTargets();

/** A client that was never connected. */
async function clientFor(options: object): Promise<any> {
  const PrismaClient = await prismaClientOf({ name: 'postgres' });
  return new PrismaClient(options);
}

const unused = () => new PrismaPg({ connectionString: 'postgres://app:secret@db.example:5432/shop' });
const take = (value: unknown) => () => fromPrisma(value as any);

describe('values that fromPrisma() takes', () => {
  it.each([
    ['undefined', undefined, 'it got undefined'],
    ['a promise', Promise.resolve(), 'a promise: await it'],
    ['a URL', 'postgres://app:secret@db.example/shop', 'it got a text'],
    ['another client', { query() {}, connect() {}, end() {}, totalCount: 1 }, 'it got a pool of pg'],
  ])('B90 fromPrisma() refuses %s, and names its kind', (_, value, text) => {
    expect(take(value)).toThrow(LockError);
    expect(take(value)).toThrow(text);
    expect(take(value)).not.toThrow('secret');
  });

  it('B90 a client without a driver adapter is refused, and the error names what to pass', async () => {
    const client = await clientFor({ accelerateUrl: 'prisma://accelerate.example/?api_key=secret' });
    expect(take(client)).toThrow(/driver adapter.*PrismaPg.*fromPg\(pool\)/);
  });

  it.each(['sqlserver', 'cockroachdb', 'mongodb'])(
    'B90 the provider %s is refused by its name',
    async (provider) => {
      const client = await clientFor({ adapter: unused() });
      const other = Object.create(client, { _activeProvider: { value: provider } });
      expect(take(other)).toThrow(`Prisma's provider ${provider}`);
    },
  );

  it('B86 the description shows host, port and database, but neither user nor password', async () => {
    const { description } = fromPrisma(await clientFor({ adapter: unused() }));
    expect(description).toBe('postgres at db.example:5432, database shop');
  });

  it('B90 a SQLite database in memory is refused', async () => {
    const PrismaClient = await prismaClientOf({ name: 'sqlite' });
    const prisma = new PrismaClient({ adapter: new PrismaBetterSqlite3({ url: ':memory:' }) });
    const store = new SqlLockStore(fromPrisma(prisma));
    await expect(store.prepare()).rejects.toThrow(/need a database file.*memoryStore\(\)/);
    await prisma.$disconnect();
  });
});

for (const { name, open } of targets.filter((target) => target.name === 'postgres'))
  describe(`fromPrisma() on ${name}`, () => {
    let target: Target;
    let PrismaClient: any;
    beforeAll(async () => {
      target = await open();
      PrismaClient = await prismaClientOf(target);
    });
    afterAll(async () => target.dispose());

    const adapter = (options?: object) => new PrismaPg(serverOf(target), options);

    it('B83 a client with prepared statements is refused, since such a statement cannot prove that it runs outside of a transaction', async () => {
      const statementNameGenerator = ({ sql }: { sql: string }) => `s${sql.length}`;
      const prisma = new PrismaClient({ adapter: adapter({ statementNameGenerator }) });
      await expect(new SqlLockStore(fromPrisma(prisma)).prepare()).rejects.toThrow(
        /prepares its statements.*statementNameGenerator.*fromPg\(pool\)/,
      );
      await prisma.$disconnect();
    });

    it('B91 a guard takes the transactions of a client and of its extensions, and refuses the clients', async () => {
      class PrismaService extends (PrismaClient as new (options: object) => any) {}
      const service = new PrismaService({ adapter: adapter() });
      const extended: any = service.$extends({ model: { $allModels: { answer: () => 42 } } });
      for (const client of [service, extended]) {
        const store = new SqlLockStore<any>(fromPrisma<any>(client));
        const granted = await store.acquire('a key', 'an owner', 10_000);
        const { fencingToken } = granted as { fencingToken: number };
        const held = await store.transaction((tx) => store.guard(tx, 'a key', 'an owner', fencingToken));
        expect(held).toBe(true);
        const ofApplication = (tx: any) => store.guard(tx, 'a key', 'an owner', fencingToken);
        expect(await extended.$transaction(ofApplication)).toBe(true);
        expect(await service.$transaction(ofApplication)).toBe(true);
        for (const bare of [service, extended])
          await expect(ofApplication(bare)).rejects.toThrow(/open transaction.*it got a PrismaClient/);
        expect(await store.release('a key', 'an owner')).toBe(true);
      }
      await service.$transaction(async (tx: any) => {
        expect(take(tx)).toThrow('it got a transaction of Prisma');
      });
      await service.$disconnect();
    });

    it("B91 a transaction may take longer than Prisma's limit of 5 s", async () => {
      const prisma = new PrismaClient({ adapter: adapter(), transactionOptions: { timeout: 1 } });
      const store = new SqlLockStore<any>(fromPrisma<any>(prisma));
      const slow = (tx: any) => tx.$queryRawUnsafe('SELECT pg_sleep(0.05)::text');
      await expect(store.transaction(slow, { timeout: 60_000 })).resolves.toHaveLength(1);
      await prisma.$disconnect();
    });
  });

for (const { name, open } of targets.filter((target) => target.name === 'mysql'))
  it(`B90 Prisma on ${name} is refused with an error that names the reason and an alternative`, async () => {
    const target = await open();
    const PrismaClient = await prismaClientOf(target);
    const prisma = new PrismaClient({
      adapter: new PrismaMariaDb({ ...serverOf(target), allowPublicKeyRetrieval: true }),
    });
    await expect(new SqlLockStore(fromPrisma(prisma)).prepare()).rejects.toThrow(
      /Prisma on MySQL cannot keep locks.*in a transaction.*fromMysql2\(pool\)/,
    );
    await prisma.$disconnect();
    await target.dispose();
  });

for (const { name, open } of targets.filter((target) => ['postgres', 'mariadb'].includes(target.name)))
  it(`B77 a guard through Prisma on ${name} is refused after a COMMIT sent as text`, async () => {
    const target = await open();
    const PrismaClient = await prismaClientOf(target);
    const { adapter, end } = connect(target, 2);
    const prisma = new PrismaClient({ adapter });
    const store = new SqlLockStore<any>(fromPrisma<any>(prisma));
    const granted = await store.acquire('a key', 'an owner', 10_000);
    const { fencingToken } = granted as { fencingToken: number };
    const guard = (tx: any) => store.guard(tx, 'a key', 'an owner', fencingToken);
    const commitsByText = async (tx: any) => {
      await tx.$executeRawUnsafe('COMMIT');
      return guard(tx);
    };
    await expect(store.transaction(commitsByText)).rejects.toThrow(
      /has already ended this transaction.*COMMIT/,
    );
    await expect(prisma.$transaction(commitsByText)).rejects.toThrow(
      /has already ended this transaction.*COMMIT/,
    );
    expect(await prisma.$transaction(guard)).toBe(true);
    await prisma.$disconnect();
    await end();
    await target.dispose();
  });
