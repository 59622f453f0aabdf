import { setTimeout as sleep } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import { SqlLockStore, fromPg } from 'nestjs-locked/sql';
import { LockService } from 'nestjs-locked';
import { Client, Pool } from 'pg';
import { cpuOf } from '../../bench/database-cpu.mjs';
import { start } from '../../test/servers/postgres.mjs';
import { Facts } from './facts.mjs';

const SECONDS = 3;
const SESSIONS = 8;
const HOT_KEYS = 20;

/**
 * Measures the cost of NOTIFY on PostgreSQL, for different numbers of sessions that listen on
 * other channels, and beside an application whose triggers notify. All rates are per second.
 */
export async function run() {
  Logger.overrideLogger(false);
  const facts = new Facts();
  const server = await start({ max_connections: 1_200 });
  try {
    await prepareApplication(server.url);
    for (const listeners of [0, 100, 1_000]) {
      const sessions = await listen(server.url, listeners);
      const note = facts.column(`${listeners} listeners`);
      const writes = await writesFor(server, 'writes');
      const notifying = await writesFor(server, 'notifying_writes');
      note(`writes of ${SESSIONS} sessions`, Math.round(writes.rate));
      note('the same, which notify', Math.round(notifying.rate));
      note('CPU of the server per write, ms', writes.cpu.toFixed(2));
      note('CPU of the server per write that notifies, ms', notifying.cpu.toFixed(2));
      for (const wakeUps of [true, false]) {
        const name = wakeUps ? 'with wake-ups' : 'without wake-ups';
        const alone = await contend(server, wakeUps, async () => sleep(SECONDS * 1_000));
        note(`runs under ${HOT_KEYS} contended keys, ${name}`, Math.round(alone.rate));
        let beside;
        const both = await contend(server, wakeUps, async () => {
          beside = await writesFor(server, 'notifying_writes');
        });
        note(`such runs beside writes that notify, ${name}`, Math.round(both.rate));
        note(`writes that notify beside such runs, ${name}`, Math.round(beside.rate));
      }
      await Promise.all(sessions.map((session) => session.end()));
    }
  } finally {
    await server.stop();
  }
  return facts.conclude();
}

async function prepareApplication(url) {
  await withClient(url, async (client) => {
    await client.query(`
      CREATE TABLE writes (id int PRIMARY KEY, n int);
      CREATE TABLE notifying_writes (id int PRIMARY KEY, n int);
      INSERT INTO writes SELECT n, 0 FROM generate_series(1, ${SESSIONS}) AS n;
      INSERT INTO notifying_writes SELECT n, 0 FROM generate_series(1, ${SESSIONS}) AS n;
      CREATE FUNCTION notify_write() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_notify('application', NEW.id::text); RETURN NEW; END $$;
      CREATE TRIGGER notify AFTER UPDATE ON notifying_writes FOR EACH ROW EXECUTE FUNCTION notify_write()`);
  });
}

/** Opens sessions that each listen on a channel without notifications. */
async function listen(url, count) {
  const sessions = [];
  for (let n = 0; n < count; n++) {
    const session = new Client({ connectionString: url });
    await session.connect();
    await session.query(`LISTEN "other ${n}"`);
    sessions.push(session);
  }
  return sessions;
}

/** Lets each session write to its own row for some seconds. */
async function writesFor({ url, pid }, table) {
  let count = 0;
  const cpu = cpuOf(pid);
  const until = performance.now() + SECONDS * 1_000;
  const session = (id) =>
    withClient(url, async (client) => {
      while (performance.now() < until) {
        await client.query({
          name: 'write',
          text: `UPDATE ${table} SET n = n + 1 WHERE id = $1`,
          values: [id],
        });
        count++;
      }
    });
  await Promise.all(Array.from({ length: SESSIONS }, (_, n) => session(n + 1)));
  return { rate: count / SECONDS, cpu: (cpuOf(pid) - cpu) / count };
}

/** Lets two applications take turns with the keys until the work ends. */
async function contend({ url }, wakeUps, work) {
  const applications = await Promise.all([open(url, wakeUps), open(url, wakeUps)]);
  const over = new AbortController();
  let count = 0;
  const take = async ({ locks }, key) => {
    while (!over.signal.aborted)
      await locks
        .run(key, () => count++, { signal: over.signal, wait: Infinity })
        .catch((error) => {
          if (!over.signal.aborted) throw error;
        });
  };
  const taking = applications.flatMap((application) =>
    Array.from({ length: HOT_KEYS }, (_, n) => take(application, `hot ${n}`)),
  );
  await sleep(500);
  const [before, begin] = [count, performance.now()];
  await work();
  const rate = (count - before) / ((performance.now() - begin) / 1_000);
  over.abort();
  await Promise.all(taking);
  for (const application of applications) await application.close();
  return { rate };
}

async function open(url, wakeUps) {
  const pool = new Pool({ connectionString: url, max: 10 });
  const store = new SqlLockStore(fromPg(pool), { wakeUps });
  const locks = new LockService({ options: {}, openStore: () => store });
  const internals = locks[Symbol.for('nestjs-locked: internals')];
  await internals.start();
  return { locks, close: () => internals.close().then(() => pool.end()) };
}

async function withClient(url, work) {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
