import { TypeOrmLockStore } from 'nestjs-locked/typeorm';
import { DataSource } from 'typeorm';
import { SqlLedger } from '../sql-ledger.mjs';
import { findVictim } from './victim.mjs';

/** Milliseconds that a worker waits for a connection before it fails. */
const PATIENT_FOR = 1_500;

/** Opens PostgreSQL, MariaDB or MySQL for torture, in a new database. */
export async function openSqlServer(type) {
  const server = await findVictim(type);
  const { hostname: host, port, username, password, pathname } = new URL(server.url);
  const given = { type, host, port: Number(port), username, password, database: pathname.slice(1) };
  const database = `torture_${process.pid}`;
  const options = { ...given, database };
  const admin = new DataSource({
    ...options,
    poolSize: 1,
    ...(type === 'postgres' && { applicationName: 'torturer' }),
  });
  const { sessions, end, demote, promote } = { postgres: POSTGRES, mysql: MYSQL, mariadb: MARIADB }[type];
  const workers = type === 'postgres' ? {} : { username: 'worker', password: 'secret' };
  const system = {
    name: type,
    version: server.version,
    target: { host, port: options.port },
    pools: true,
    ledger: new SqlLedger(admin),
    locks: new TypeOrmLockStore(admin),
    workerSettings: (name, proxyPort) => ({
      database: type,
      options: {
        ...options,
        ...(server.crash && workers),
        host: '127.0.0.1',
        port: proxyPort,
        poolSize: 6,
        ...(type === 'postgres'
          ? { connectTimeoutMS: PATIENT_FOR, applicationName: name }
          : { connectTimeout: PATIENT_FOR }),
      },
    }),
    crash: server.crash,
    restart: server.restart,
    /**
     * Only a server that torture has started may become read-only: a given server may have
     * other users.
     */
    ...(server.crash && {
      demote: () => runAll(admin, demote),
      promote: () => runAll(admin, promote),
    }),
    /** Lets the server end each session of the workers with this probability. */
    async disturb(random, probability) {
      const found = await again(() => admin.query(sessions));
      // A session that has ended since it was listed cannot be ended, which is no failure.
      for (const { id } of found) if (random.chance(probability)) await admin.query(end(id)).catch(() => {});
    },
    countSessions: async () => (await again(() => admin.query(sessions))).length,
    async close() {
      // Both requests fail if the server could not be reached or the run failed while the
      // server was down.
      await admin.destroy().catch(() => {});
      await onServer(given, `DROP DATABASE ${database}`).catch(() => {});
      await server.stop();
    },
  };
  try {
    await onServer(given, `CREATE DATABASE ${database}`);
    await admin.initialize();
    // A read-only server still accepts writes of administrators, so the workers connect as
    // another user.
    if (server.crash && workers.username)
      await runAll(admin, [
        `CREATE USER '${workers.username}'@'127.0.0.1' IDENTIFIED BY '${workers.password}'`,
        `GRANT ALL ON ${database}.* TO '${workers.username}'@'127.0.0.1'`,
      ]);
    await system.locks.prepare();
    return system;
  } catch (error) {
    await system.close();
    throw error;
  }
}

async function onServer(options, statement) {
  const once = await new DataSource(options).initialize();
  try {
    await once.query(statement);
  } finally {
    await once.destroy();
  }
}

async function runAll(admin, statements) {
  for (const statement of statements) await again(() => admin.query(statement));
}

/**
 * Repeats the work once if it fails, because its connection may have broken in an earlier
 * crash.
 */
async function again(work) {
  return work().catch(work);
}

const POSTGRES = {
  sessions: `SELECT pid AS id FROM pg_stat_activity WHERE datname = current_database() AND application_name <> 'torturer'`,
  end: (id) => `SELECT pg_terminate_backend(${id})`,
  demote: ['ALTER SYSTEM SET default_transaction_read_only = on', 'SELECT pg_reload_conf()'],
  promote: ['ALTER SYSTEM RESET default_transaction_read_only', 'SELECT pg_reload_conf()'],
};
// MySQL sessions have no names, so all sessions but the single session of the torturer count
// as those of workers.
const MYSQL = {
  sessions: `SELECT id FROM information_schema.processlist WHERE db = database() AND id <> connection_id()`,
  end: (id) => `KILL ${id}`,
  demote: ['SET GLOBAL super_read_only = ON'],
  // Switching read_only off also switches super_read_only off.
  promote: ['SET GLOBAL read_only = OFF'],
};
const MARIADB = { ...MYSQL, demote: ['SET GLOBAL read_only = ON'] };
