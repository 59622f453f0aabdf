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
 * The private servers of a run, each with its default durability, and a folder for the files
 * of SQLite.
 */
export class Servers {
  /** By store: `{ name, version, url, pid, durability }`. */
  #running = new Map();
  #folder = mkdtempSync(join(tmpdir(), 'nestjs-locked-bench-'));
  #databases = 0;

  constructor() {
    // This also runs after Ctrl-C. A guard ends each server with this process, however the
    // process ends.
    process.once('exit', () => rmSync(this.#folder, { recursive: true, force: true }));
  }

  /**
   * Starts the missing servers, one after the other. Returns those that did not start, with
   * the reasons.
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
   * Makes sure that the server answers, and starts a crashed server again, on its data.
   * Returns whether it had crashed.
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
   * The URL of a new, empty database on the server of the store; for SQLite the path of a new
   * file.
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
 * Runs a statement on a connection of its own, and returns the rows. MongoDB creates a
 * database by itself.
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
 * Makes sure that an answered commit is on disk, and returns the settings that show it. A
 * figure of a server that does not wait for the disk would be worth nothing.
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
  /** Of the store's own connection, which sets both by itself; the floor asks for the same. */
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
