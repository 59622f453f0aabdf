import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { DataSource } from 'typeorm';
import type { SqlStore } from '../../servers/targets.js';
import { targetsAmong } from './fixture.js';
import { Writers } from './transactions-fixture.js';

type Rewrite = (sql: string) => string;
type Symptom = 'overtaken' | 'changed by hand' | 'believes a lease that has expired';

/** A wrong change of the guard's statement, and the symptom by which the tests find it. */
interface PlantedBug {
  name: string;
  from: RegExp;
  to: string;
  foundBy: Symptom;
}

const MYSQL: PlantedBug[] = [
  {
    name: 'reads without locking the row',
    from: /LOCK IN SHARE MODE/,
    to: '',
    foundBy: 'overtaken',
  },
  {
    name: 'does not read the clock once it has the row',
    from: /AND expires_ms > .* LOCK IN/,
    to: 'LOCK IN',
    foundBy: 'believes a lease that has expired',
  },
];

const PLANTED: Record<SqlStore, PlantedBug[]> = {
  postgres: [
    {
      name: 'reads without locking the row',
      from: /FOR SHARE/,
      to: '',
      foundBy: 'overtaken',
    },
    {
      name: 'locks the key only',
      from: /FOR SHARE/,
      to: 'FOR KEY SHARE',
      foundBy: 'changed by hand',
    },
    {
      name: "compares with the time of the transaction's start",
      from: /(?<=FOR SHARE[^]*)clock_timestamp\(\)/g,
      to: 'now()',
      foundBy: 'believes a lease that has expired',
    },
  ],
  mysql: MYSQL,
  mysql56: MYSQL,
  mariadb: MYSQL,
  sqlite: [
    {
      name: 'reads without locking the row',
      from: /UPDATE (\S+) SET token = token\s+(WHERE key)/,
      to: 'SELECT 1 FROM $1 $2',
      foundBy: 'overtaken',
    },
  ],
};

for (const target of targetsAmong('sqlite', 'postgres', 'mariadb', 'mysql', 'mysql56'))
  describe(`planted bugs of a guard on ${target.name}`, () => {
    let writers: Writers;
    const level = target.name === 'sqlite' ? 'SERIALIZABLE' : 'READ COMMITTED';
    let rewrite: Rewrite = (sql) => sql;
    beforeAll(async () => {
      writers = await Writers.open(target);
      rewriteStatements(writers.application, (sql) => rewrite(sql));
    });
    afterAll(() => writers.dispose());

    /** Tells whether a contender gets the key between the guard and the commit. */
    async function isOvertaken(): Promise<boolean> {
      const { key, token } = await writers.hold(300);
      return writers.application.transaction(level, async (manager) => {
        await writers.store.guard(manager, key, 'holder', token);
        await writers.expiry(key);
        return (await writers.thief.acquire(key, 'thief', 8_000)).acquired;
      });
    }

    /**
     * Tells whether a plain UPDATE can free the key between the guard and the commit. The
     * statements of the store would not do so, because they lock the row first.
     */
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
            // The UPDATE has waited for the locked row until its time limit.
            if (error.code === '55P03') return false;
            throw error;
          },
        );
      });
    }

    /**
     * Tells whether the guard accepts a lease that has expired since the transaction began,
     * while the key is free for other processes.
     */
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
      ...((await believesTooLong()) ? (['believes a lease that has expired'] as const) : []),
    ];

    it('B91 the sound guard blocks contenders, and refuses an expired lease', async () => {
      rewrite = (sql) => sql;
      expect(await symptoms()).toEqual([]);
    });

    it.each(PLANTED[target.name])('B91 a guard with the bug "$name" is found', async (planted) => {
      let planting = false;
      rewrite = (sql) => {
        const rewritten = sql.replace(planted.from, planted.to);
        planting ||= rewritten !== sql;
        return rewritten;
      };
      expect(await symptoms()).toContain(planted.foundBy);
      expect(planting).toBe(true);
    });
  });

/** Replaces the statements that the application's transactions send. */
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
