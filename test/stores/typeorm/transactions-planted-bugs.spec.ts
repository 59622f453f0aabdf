import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { DataSource } from 'typeorm';
import type { SqlStore } from '../../servers/targets.js';
import { targetsAmong } from './fixture.js';
import { Writers } from './transactions-fixture.js';

type Rewrite = (sql: string) => string;
type Symptom = 'overtaken' | 'changed by hand' | 'believes a lease that has run out';

interface PlantedBug {
  bug: string;
  rewrite: Rewrite;
  symptom: Symptom;
}

const unlocked: PlantedBug = {
  bug: 'reads without locking the row',
  rewrite: (sql) => sql.replace('LOCK IN SHARE MODE', ''),
  symptom: 'overtaken',
};
const clockless: PlantedBug = {
  bug: 'does not ask the clock once it has the row',
  rewrite: (sql) => sql.replace(/AND expires_ms > .* LOCK IN/, 'LOCK IN'),
  symptom: 'believes a lease that has run out',
};
const PLANTED: Record<SqlStore, PlantedBug[]> = {
  postgres: [
    { ...unlocked, rewrite: (sql) => sql.replace('FOR SHARE', '') },
    {
      bug: 'locks the key only',
      rewrite: (sql) => sql.replace('FOR SHARE', 'FOR KEY SHARE'),
      symptom: 'changed by hand',
    },
    {
      bug: "compares with the time of the transaction's start",
      rewrite: (sql) => (sql.includes('FOR SHARE') ? sql.replaceAll('clock_timestamp()', 'now()') : sql),
      symptom: 'believes a lease that has run out',
    },
  ],
  mysql: [unlocked, clockless],
  mysql56: [unlocked, clockless],
  mariadb: [unlocked, clockless],
  sqlite: [
    {
      ...unlocked,
      rewrite: (sql) => sql.replace(/UPDATE (\S+) SET token = token\s+(WHERE key)/, 'SELECT 1 FROM $1 $2'),
    },
  ],
};

for (const target of targetsAmong('sqlite', 'postgres', 'mariadb', 'mysql', 'mysql56'))
  describe(`a guard on ${target.name}`, () => {
    let writers: Writers;
    const level = target.name === 'sqlite' ? 'SERIALIZABLE' : 'READ COMMITTED';
    let rewrite: Rewrite = (sql) => sql;
    beforeAll(async () => {
      writers = await Writers.open(target);
      rewriteStatements(writers.application, (sql) => rewrite(sql));
    });
    afterAll(() => writers.dispose());

    /** Whether a contender gets the key between the guard and the commit. */
    async function isOvertaken(): Promise<boolean> {
      const { key, token } = await writers.hold(300);
      return writers.application.transaction(level, async (manager) => {
        await writers.store.guard(manager, key, 'holder', token);
        await writers.expiry(key);
        return (await writers.thief.acquire(key, 'thief', 8_000)).acquired;
      });
    }

    /** Whether somebody can free the key between the guard and the commit without asking for the row's lock first, as our statements do. */
    async function isChangedByHand(): Promise<boolean> {
      if (target.name !== 'postgres') return false;
      const { key, token } = await writers.hold();
      return writers.application.transaction(level, async (manager) => {
        await writers.store.guard(manager, key, 'holder', token);
        const change = writers.thiefs.transaction(async (byHand) => {
          await byHand.query("SET LOCAL lock_timeout = '200ms'");
          await byHand.query(`UPDATE locks SET expires_ms = 0 WHERE key = '${key}'`);
        });
        return change.then(
          () => true,
          (error: { code?: unknown }) => {
            if (error.code === '55P03') return false; // the wait was too long
            throw error;
          },
        );
      });
    }

    /** Whether the guard says yes when the lease has run out since the transaction's start, with nobody having taken it. */
    async function believesTooLong(): Promise<boolean> {
      const { key, token } = await writers.hold(300);
      return writers.application.transaction(level, async (manager) => {
        await manager.query('SELECT count(*) FROM writes');
        await writers.expiry(key);
        return writers.store.guard(manager, key, 'holder', token);
      });
    }

    const symptoms = async (): Promise<Symptom[]> => [
      ...((await isOvertaken()) ? (['overtaken'] as const) : []),
      ...((await isChangedByHand()) ? (['changed by hand'] as const) : []),
      ...((await believesTooLong()) ? (['believes a lease that has run out'] as const) : []),
    ];

    it('is neither overtaken, nor does it believe a lease that has run out', async () => {
      rewrite = (sql) => sql;
      expect(await symptoms()).toEqual([]);
    });

    it.each(PLANTED[target.name])('that $bug is found out', async (planted) => {
      let planting = false;
      rewrite = (sql) => {
        const rewritten = planted.rewrite(sql);
        planting ||= rewritten !== sql;
        return rewritten;
      };
      expect(await symptoms()).toContain(planted.symptom);
      expect(planting).toBe(true);
    });
  });

/** Changes what is sent on connections of the application: those of its transactions. */
function rewriteStatements(dataSource: DataSource, rewrite: Rewrite): void {
  const { databaseConnection } = dataSource.driver as any;
  if (databaseConnection) {
    const prepare = databaseConnection.prepare.bind(databaseConnection);
    databaseConnection.prepare = (sql: string) => prepare(rewrite(sql));
    return;
  }
  const createQueryRunner = dataSource.createQueryRunner.bind(dataSource);
  dataSource.createQueryRunner = (mode) => {
    const runner = createQueryRunner(mode);
    const connect = runner.connect.bind(runner);
    runner.connect = async () => rewriting(await connect(), rewrite);
    return runner;
  };
}

function rewriting(connection: any, rewrite: Rewrite): unknown {
  const rewritten = (query: any) => {
    if (typeof query === 'string') return rewrite(query);
    return query.text ? { ...query, text: rewrite(query.text) } : { ...query, sql: rewrite(query.sql) };
  };
  return new Proxy(connection, {
    get(target, property) {
      const member = target[property];
      if (property === 'query' || property === 'execute')
        return (query: any, ...rest: unknown[]) => member.call(target, rewritten(query), ...rest);
      return typeof member === 'function' ? member.bind(target) : member;
    },
  });
}
