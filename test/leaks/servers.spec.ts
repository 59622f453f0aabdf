import { INTERNALS } from '../../lib/lock-internals.js';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ConsoleLogger, Logger } from '@nestjs/common';
import { channel } from 'node:diagnostics_channel';
import { LockService } from '../../lib/lock.service.js';
import type { LockStore } from '../../lib/interfaces/lock-store.interface.js';
import type { MongoLockStore } from '../../lib/stores/mongodb/mongo-lock.store.js';
import { TypeOrmLockStore, type TypeOrmLockStoreOptions } from '../../lib/stores/typeorm/index.js';
import { MongoFixture, mongodbIsSelected } from '../stores/mongodb/fixture.js';
import { Fixture, targetsAmong } from '../stores/typeorm/fixture.js';
import { newKey, tokenOf } from '../stores/keys.js';
import { ownersIn, shownBy } from './shown-by.js';

/**
 * An owner id that is no UUID, unlike the library's own ids: callers of a store may choose it.
 */
const OWNER = "wörker-7'capability-0123456789";
/**
 * The owner id of the holder. An error may not show it, even if the request had another owner
 * id.
 */
const HELD = '1b4e28ba-2fa1-41d2-883f-0016d3cca427';
const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/i;

/**
 * Collects everything that the library reports while `work` runs: errors, events, messages of
 * diagnostics channels, and log lines.
 */
async function saidWhile(work: (said: unknown[]) => Promise<unknown>): Promise<unknown[]> {
  const said: unknown[] = [];
  const listener = (message: unknown): void => void said.push(message);
  const channels = ['storeError', 'renewFailed', 'lost', 'busy'].map((name) =>
    channel(`nestjs-locked:${name}`),
  );
  for (const one of channels) one.subscribe(listener);
  const logger = new ConsoleLogger({ logLevels: [] });
  for (const level of ['log', 'warn', 'error', 'debug'] as const)
    logger[level] = (...texts: unknown[]) => void said.push(...texts);
  Logger.overrideLogger(logger);
  try {
    await work(said);
  } catch (error) {
    said.push(error);
  } finally {
    for (const one of channels) one.unsubscribe(listener);
    Logger.overrideLogger(false);
  }
  return said;
}

/** Calls each method that takes an owner id, and returns the errors of the calls. */
async function failuresOf(store: LockStore & Partial<TypeOrmLockStore | MongoLockStore>): Promise<unknown[]> {
  const calls = [
    () => store.acquire(newKey(), OWNER, 60_000, { label: 'api-7' }),
    () => store.acquire('held', OWNER, 60_000, { resend: true }),
    () => store.renew('held', HELD, 60_000),
    () => store.renewMany?.([{ key: 'held', owner: HELD, ttl: 60_000 }]),
    () => store.releaseToWaiter?.('held', HELD, { owner: OWNER, ttl: 60_000 }),
    () => store.release('held', HELD),
    () => store.forceRelease?.('held'),
  ];
  const failures: unknown[] = [];
  for (const call of calls) await Promise.resolve(call()).catch((error: unknown) => failures.push(error));
  return failures;
}

describe.each(targetsAmong('postgres', 'mariadb', 'mysql', 'sqlite'))(
  'D errors of $name show no owner id',
  (target) => {
    let fixture: Fixture;
    beforeAll(async () => void (fixture = await Fixture.open(target)));
    afterAll(() => fixture.dispose());

    /** Opens a store on a new table, in which the owner `HELD` holds the key "held". */
    async function prepared(table: string, options: TypeOrmLockStoreOptions) {
      const application = await fixture.dataSource();
      const store = new TypeOrmLockStore(application, { table, ...options });
      await store.prepare();
      tokenOf(await store.acquire('held', HELD, 60_000));
      return { store, application };
    }

    const refusals: Record<string, Record<string, string[]>> = {
      postgres: {
        'a constraint, whose detail has the row': [
          'ALTER TABLE t ADD CONSTRAINT c CHECK (token < 0) NOT VALID',
        ],
        'a trigger that raises with the row': [
          `CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN RAISE EXCEPTION 'no % %', NEW.owner, OLD.owner USING DETAIL = NEW.owner, HINT = OLD.owner; END $$`,
          'CREATE TRIGGER g BEFORE UPDATE OR INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()',
        ],
        'a column of another type': [
          'UPDATE t SET owner = NULL',
          'ALTER TABLE t ALTER COLUMN owner TYPE int USING 1',
        ],
      },
      mysql: {
        'a column that is too short': [
          'UPDATE t SET owner = NULL',
          'ALTER TABLE t MODIFY owner VARBINARY(3)',
        ],
        'a trigger that signals with the row': [
          `CREATE TRIGGER g BEFORE UPDATE ON t FOR EACH ROW BEGIN
           SET @m = CONCAT('no ', COALESCE(NEW.owner, ''), COALESCE(OLD.owner, ''));
           SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = @m; END`,
          `CREATE TRIGGER h BEFORE INSERT ON t FOR EACH ROW BEGIN
           SET @m = CONCAT('no ', COALESCE(NEW.owner, '')); SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = @m; END`,
        ],
        'a column that is missing': ['ALTER TABLE t DROP COLUMN owner'],
      },
      sqlite: {
        'a trigger that aborts': [
          "CREATE TRIGGER g BEFORE UPDATE ON t BEGIN SELECT RAISE(ABORT, 'no update'); END",
          "CREATE TRIGGER h BEFORE INSERT ON t BEGIN SELECT RAISE(ABORT, 'no insert'); END",
        ],
        'a column of another name': ['ALTER TABLE t RENAME COLUMN owner TO hidden'],
      },
    };
    const kinds = refusals[target.name] ?? refusals.mysql ?? {};

    const forms = target.name === 'sqlite' ? [true] : [true, false];
    const cases = Object.entries(kinds).flatMap(([what, statements]) =>
      forms.map((preparedStatements) => ({ what, statements, preparedStatements })),
    );

    it.each(cases)(
      'B86 after $what (prepared statements: $preparedStatements) no error, event or log line shows an owner id',
      async ({ what, statements, preparedStatements }) => {
        const table = `t_${Object.keys(kinds).indexOf(what)}_${preparedStatements ? 'p' : 'u'}`;
        const own = statements.map((statement) =>
          statement.replaceAll(/\b([tfgh])\b(?=[ (]|$)/g, (name) =>
            name === 't' ? table : `${name}_${table}`,
          ),
        );
        const { store, application } = await prepared(
          table,
          preparedStatements ? {} : { preparedStatements },
        );
        const service = new LockService({ options: {}, openStore: () => store });
        await service[INTERNALS].start();
        const lock = await service.acquire('ours');
        for (const statement of own) await application.query(statement);

        const failures = await failuresOf(store);
        expect(failures).not.toEqual([]);
        for (const failure of failures) {
          expect(failure).toMatchObject({ name: 'LockStoreError' });
          expect(ownersIn(failure, [OWNER, HELD])).toEqual([]);
        }
        const said = await saidWhile(async (errors) => {
          await service.acquire('other').catch((error: unknown) => errors.push(error));
          await lock.extend().catch((error: unknown) => errors.push(error));
          await lock.release();
        });
        expect(said).not.toEqual([]);
        expect(shownBy(said)).not.toMatch(UUID);
        await service[INTERNALS].close();
      },
    );

    it('B86 the error of a guard that the database refuses shows no owner id', async () => {
      if (!kinds['a column that is missing'] && target.name !== 'postgres') return;
      const { store, application } = await prepared('t_guard', {});
      const token = Number((await store.inspect('held')).state === 'held');
      await application.query('ALTER TABLE t_guard RENAME TO t_guard_hidden');
      const mine = Object.assign(new Error(HELD), { detail: HELD });
      const failure: unknown = await store
        .transaction((manager) => store.guard(manager, 'held', HELD, token))
        .catch((error: unknown) => error);
      expect(failure).toMatchObject({ name: 'LockStoreError', cause: expect.anything() });
      expect(ownersIn(failure, [HELD])).toEqual([]);
      const thrown = store.transaction(async () => {
        throw mine;
      });
      await expect(thrown).rejects.toBe(mine);
      await application.query('ALTER TABLE t_guard_hidden RENAME TO t_guard');
    });
  },
);

if (mongodbIsSelected())
  describe('D errors of MongoDB show no owner id', () => {
    const fixture = new MongoFixture();
    afterAll(() => fixture.dispose());

    it('B86 no error, event or log line shows an owner id when a validator refuses the document', async () => {
      const store = await fixture.store();
      const tokenOfHolder = tokenOf(await store.acquire('held', HELD, 60_000));
      const service = new LockService({ options: {}, openStore: () => store });
      await service[INTERNALS].start();
      const lock = await service.acquire('ours');
      const database = (await fixture.client()).db(fixture.databaseName);
      const refuse = (validator: object) => database.command({ collMod: 'locks', validator });
      await refuse({ never: { $exists: true } });

      const failures = await failuresOf(store);
      expect(failures.length).toBeGreaterThan(3);
      for (const failure of failures) {
        expect(failure).toMatchObject({ name: 'LockStoreError', cause: { code: expect.any(Number) } });
        expect(ownersIn(failure, [OWNER, HELD])).toEqual([]);
      }
      const said = await saidWhile(async (errors) => {
        await service.acquire('other').catch((error: unknown) => errors.push(error));
        await lock.extend().catch((error: unknown) => errors.push(error));
        await lock.release();
      });
      expect(said.length).toBeGreaterThan(2);
      expect(shownBy(said)).not.toMatch(UUID);
      const failure: unknown = await store
        .transaction((session) => store.guard(session, 'held', HELD, tokenOfHolder))
        .catch((error: unknown) => error);
      expect(failure).toMatchObject({ name: 'LockStoreError', cause: expect.anything() });
      expect(ownersIn(failure, [HELD])).toEqual([]);
      await refuse({});
      await service[INTERNALS].close();
    });

    it('B86 an error hides the text of a command that MongoDB repeats in its message', async () => {
      const collection = await fixture.collection();
      const command = {
        findAndModify: 'locks',
        query: { _id: 'k', owner: { $eq: OWNER } },
        lsid: { id: HELD },
      };
      const refused = Object.assign(
        new Error(`not authorized on app to execute command ${JSON.stringify(command)}`),
        { name: 'MongoServerError', code: 13, codeName: 'Unauthorized', errorResponse: { errmsg: HELD } },
      );
      for (const method of ['findOneAndUpdate', 'updateOne', 'bulkWrite'] as const)
        collection[method] = async () => {
          throw refused;
        };
      const { MongoLockStore: Store } = await import('../../lib/stores/mongodb/mongo-lock.store.js');
      collection.find = () => ({ limit: () => ({ toArray: async () => [] }) }) as never;
      const store = new Store(collection);
      const failures = await failuresOf(store);
      expect(failures.length).toBeGreaterThan(4);
      for (const failure of failures) {
        expect(failure).toMatchObject({ message: expect.stringContaining('not authorized on app') });
        expect(ownersIn(failure, [OWNER, HELD])).toEqual([]);
      }
    });
  });
