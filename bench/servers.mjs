import Sqlite from 'better-sqlite3';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MongoClient } from 'mongodb';
import mysql from 'mysql2/promise';
import { Client } from 'pg';
import { serverVersion } from '../test/servers/server-version.mjs';
import { serverOf } from '../test/servers/stores.mjs';

/**
 * The private database servers of a run, with their default durability, and a folder for the
 * files of SQLite.
 */
export class Servers {
  /** The running servers by store, each as `{ name, version, url, pid, durability }`. */
  #running = new Map();
  #folder = mkdtempSync(join(tmpdir(), 'nestjs-locked-bench-'));
  #databases = 0;

  constructor() {
    // The folder is deleted even after Ctrl-C. The servers need no such listener: a guard ends
    // them together with this process.
    process.once('exit', () => rmSync(this.#folder, { recursive: true, force: true }));
  }

  /**
   * Starts the servers that are not running yet, one after the other. Returns the stores whose
   * server did not start, with the reasons.
   */
  async start(stores) {
    const failures = [];
    for (const store of stores.filter((name) => !this.#running.has(name))) {
      try {
        const server = store === 'sqlite' ? this.#sqlite() : await serverOf(store).start();
        this.#running.set(store, server);
        server.durability = await DURABILITY[store](server.url);
      } catch (reason) {
        failures.push({ store, reason });
      }
    }
    return failures;
  }

  /**
   * Checks that the server answers. If it has crashed, starts it again on its old data, and
   * returns true.
   */
  async revive(store) {
    if (store === 'sqlite') return false;
    const server = this.of(store);
    const answers = await serverVersion(server.url).then(
      () => true,
      () => false,
    );
    if (!answers) await server.restart();
    return !answers;
  }

  get stores() {
    return [...this.#running.keys()];
  }

  of(store) {
    return this.#running.get(store);
  }

  /**
   * Creates an empty database on the server of the store, and returns its URL; for SQLite,
   * returns the path of a new file.
   */
  async database(store) {
    const name = `bench_${process.pid}_${++this.#databases}`;
    if (store === 'sqlite') return join(this.#folder, `${name}.sqlite`);
    const { url } = this.of(store);
    await onServer[store]?.(url, `CREATE DATABASE ${name}`);
    const own = new URL(url);
    own.pathname = `/${name}`;
    return own.href;
  }

  async stop() {
    await Promise.all([...this.#running.values()].map((server) => server.stop()));
    this.#running.clear();
  }

  #sqlite() {
    const file = join(this.#folder, 'version.sqlite');
    const database = new Sqlite(file);
    const version = database.prepare('SELECT sqlite_version()').pluck().get();
    database.close();
    return { name: 'sqlite', version, url: file, stop: async () => {} };
  }
}

async function onMysql(url, statement) {
  const connection = await mysql.createConnection(url);
  try {
    return (await connection.query(statement))[0];
  } finally {
    await connection.end();
  }
}

/**
 * Functions that run a statement on a separate connection and return its rows. MongoDB has
 * none, since it creates databases automatically.
 */
const onServer = {
  mariadb: onMysql,
  mysql: onMysql,
  async postgres(url, statement) {
    const client = new Client({ connectionString: url });
    await client.connect();
    try {
      return (await client.query(statement)).rows;
    } finally {
      await client.end();
    }
  },
};

async function durabilityOfMysql(url) {
  const rows = await onMysql(url, 'SHOW GLOBAL VARIABLES');
  const settings = Object.fromEntries(rows.map(({ Variable_name, Value }) => [Variable_name, String(Value)]));
  const wanted = { innodb_flush_log_at_trx_commit: '1', innodb_doublewrite: 'ON' };
  if (settings.log_bin === 'ON') wanted.sync_binlog = '1';
  return demanded(settings, wanted, ['innodb_flush_method', 'log_bin']);
}

/**
 * Functions that check that an acknowledged commit is on the disk, and return the settings
 * that show it. Figures of a server that does not wait for the disk would be worthless.
 */
const DURABILITY = {
  async postgres(url) {
    const names = ['fsync', 'synchronous_commit', 'full_page_writes'];
    const rows = await onServer.postgres(url, 'SELECT name, setting FROM pg_settings');
    const settings = Object.fromEntries(rows.map(({ name, setting }) => [name, setting]));
    return demanded(settings, Object.fromEntries(names.map((name) => [name, 'on'])), ['wal_sync_method']);
  },
  mariadb: durabilityOfMysql,
  mysql: durabilityOfMysql,
  /**
   * SQLite has no server to check: the store and the floor each set both values on their own
   * connections.
   */
  sqlite: async () => ({ journal_mode: 'wal', synchronous: 'FULL' }),
  async mongodb(url) {
    const client = await new MongoClient(url).connect();
    try {
      const { config } = await client.db('admin').command({ replSetGetConfig: 1 });
      const settings = {
        writeConcernMajorityJournalDefault: String(config.writeConcernMajorityJournalDefault),
      };
      return demanded(settings, { writeConcernMajorityJournalDefault: 'true' }, []);
    } finally {
      await client.close();
    }
  },
};

function demanded(settings, wanted, shown) {
  for (const [name, value] of Object.entries(wanted))
    if (settings[name] !== value)
      throw new Error(`the server is not durable: ${name} is ${settings[name]}, and has to be ${value}`);
  return Object.fromEntries([...Object.keys(wanted), ...shown].map((name) => [name, settings[name]]));
}
