import { setTimeout as sleep } from 'node:timers/promises';
import mysql from 'mysql2/promise';
import { Client } from 'pg';
import { start as startMariadb } from '../servers/mariadb.mjs';
import { start as startMysql } from '../servers/mysql.mjs';
import { startStandby } from '../servers/postgres-standby.mjs';
import { start as startPostgres } from '../servers/postgres.mjs';

/**
 * For each database, starts two servers, the first of which is the writer. `demote` turns the
 * old writer read-only and leaves its connections open. `takeOver` makes the next server the
 * writer, with all data of the old writer. `old` and `next` are URLs for applications. On a
 * database that can notify, `listening` resolves when this many processes listen on the next
 * server.
 *
 * @type {Record<
 *   'postgres' | 'mariadb' | 'mysql',
 *   () => Promise<import('./switchover.mjs').Pair>
 * >}
 */
export const PAIRS = {
  postgres: postgresPair,
  mariadb: () => mysqlPair('mariadb', startMariadb, 'SET GLOBAL read_only = ON'),
  mysql: () => mysqlPair('mysql', startMysql, 'SET GLOBAL super_read_only = ON'),
};

async function postgresPair() {
  const primary = await startPostgres();
  let standby;
  try {
    standby = await startStandby(primary);
  } catch (error) {
    await primary.stop();
    throw error;
  }
  return {
    version: primary.version,
    old: primary.url,
    next: standby.url,
    async demote() {
      await queryPostgres(primary.url, 'ALTER SYSTEM SET default_transaction_read_only = on');
      await queryPostgres(primary.url, 'SELECT pg_reload_conf()');
    },
    async takeOver() {
      const [{ lsn }] = await queryPostgres(primary.url, 'SELECT pg_current_wal_lsn() AS lsn');
      const caughtUp = `SELECT pg_last_wal_replay_lsn() >= '${lsn}' AS done`;
      while (!(await queryPostgres(standby.url, caughtUp))[0].done) await sleep(20);
      await queryPostgres(standby.url, 'SELECT pg_promote()');
    },
    async listening(processes) {
      const listeners = `SELECT pid FROM pg_stat_activity WHERE query LIKE 'LISTEN %'`;
      while ((await queryPostgres(standby.url, listeners)).length < processes) await sleep(100);
    },
    stop: () => Promise.all([primary.stop(), standby.stop()]),
  };
}

async function queryPostgres(url, sql) {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

/**
 * Plays replication: once the old server accepts no more writes, `takeOver` copies the table
 * to the next server.
 */
async function mysqlPair(name, start, readOnly) {
  const servers = await Promise.allSettled([start(), start()]);
  const running = servers.flatMap(({ value }) => value ?? []);
  const stop = () => Promise.all(running.map((server) => server.stop()));
  try {
    const failed = servers.find(({ status }) => status === 'rejected');
    if (failed) throw failed.reason;
    // Applications connect as an ordinary user, because a read-only server still accepts the
    // writes of administrators.
    for (const { url } of running)
      await onMysql(url, async (admin) => {
        await admin.query(`CREATE USER 'worker'@'127.0.0.1' IDENTIFIED BY 'secret'`);
        await admin.query(`GRANT ALL ON app.* TO 'worker'@'127.0.0.1'`);
      });
  } catch (error) {
    await stop();
    throw error;
  }
  const [old, next] = running.map(({ url }) => url);
  const forWorkers = (url) => url.replace('//app:', '//worker:');
  return {
    version: running[0].version,
    old: forWorkers(old),
    next: forWorkers(next),
    demote: () => onMysql(old, (admin) => admin.query(readOnly)),
    takeOver: () =>
      onMysql(old, async (from) => {
        const [[{ 'Create Table': table }]] = await from.query('SHOW CREATE TABLE locks');
        const [rows] = await from.query({ sql: 'SELECT * FROM locks', rowsAsArray: true });
        await onMysql(next, async (to) => {
          await to.query(table);
          await to.query('INSERT INTO locks VALUES ?', [rows]);
        });
      }),
    stop,
  };
}

async function onMysql(url, work) {
  const admin = await mysql.createConnection(url);
  try {
    return await work(admin);
  } finally {
    await admin.end();
  }
}
