import { setTimeout as sleep } from 'node:timers/promises';
import type { LockRecord } from '../../../interfaces/lock-record.interface.js';
import { LockStoreError } from '../../../lock.errors.js';
import { OPERATION_LIMIT } from '../../shared/operation-limit.js';
import { US } from './mysql-statements.js';
import { hex } from './mysql-values.js';
import { Mysql2Driver, type Mysql2Connection } from './mysql2-driver.js';
import { PooledConnections } from '../pooled-connections.js';
import { mysqlServer, type MysqlVersion } from '../server-checks.js';
import { LockSession, onDemotedServer, type SessionLink } from '../sessions/lock-session.js';
import { openMysqlLink } from './mysql-link.js';
import {
  digestOf,
  noteOf,
  recordsOf,
  titleOf,
  type ServerLock,
  type SessionDatabase,
  type SessionsToLookAt,
} from '../sessions/session-database.js';
import type { SessionSettings } from '../sessions/session-store.options.js';
import type { DriverExecutor } from '../sql-executor.js';

/**
 * The length of the readable part of a lock's name: MySQL allows 64 characters, of which a
 * digest takes 41.
 */
const TITLE = 64 - 41;
const MDL = 'wait/lock/metadata/sql/mdl';
/**
 * Milliseconds between two attempts for the last part of a wait, since MySQL can only wait for
 * whole seconds.
 */
const POLL = 50;
/** The longest timeout of a session in seconds; no operating system refuses this value. */
const LONGEST_TIMEOUT = 2_147_483;

/** Both variables are read, since a reader of Aurora sets only `innodb_read_only`. */
const READ_ONLY = '@@GLOBAL.read_only AS read_only, @@GLOBAL.innodb_read_only AS innodb_read_only';
/**
 * An expression that identifies the server, since every server uses the same small numbers as
 * connection ids.
 */
const SERVER = `CONCAT_WS(':', @@hostname, @@port, @@server_id)`;

export async function openMysqlSessions(
  executor: DriverExecutor,
  settings: SessionSettings,
): Promise<MysqlSessions> {
  const pooled = new PooledConnections(executor as DriverExecutor<Mysql2Connection>, new Mysql2Driver());
  const { rows } = await pooled.use(OPERATION_LIMIT, (run) =>
    run(`SELECT VERSION() AS version, COALESCE(DATABASE(), '') AS db`),
  );
  const [{ version, db } = {}] = rows;
  return new MysqlSessions(executor, settings, pooled, mysqlServer(String(version)), String(db));
}

/**
 * Session locks by `GET_LOCK` of MySQL and MariaDB.
 *
 * A session keeps key, label and token of its lock in user variables, which
 * `performance_schema` shows to other sessions. Names of locks are shared by all databases of
 * a server and ignore case. So a name contains a digest of database and key.
 */
export class MysqlSessions implements SessionDatabase {
  readonly kind: 'mysql' | 'mariadb';

  constructor(
    private readonly executor: DriverExecutor,
    private readonly settings: SessionSettings,
    private readonly pooled: PooledConnections<Mysql2Connection>,
    private readonly server: MysqlVersion,
    private readonly database: string,
  ) {
    this.kind = server.mariadb ? 'mariadb' : 'mysql';
  }

  lockOf(key: string, label: string | null): ServerLock {
    const title = titleOf(key, TITLE).toLowerCase();
    const digest = digestOf(key, this.database).toString('hex').slice(0, 40);
    return { name: `${title}~${digest}`, title, note: noteOf(key, label) };
  }

  async connect(): Promise<LockSession> {
    const link = await openMysqlLink(this.executor, this.settings.keepAlive);
    return LockSession.begin(link, this.settings.answerLimit, () => this.prepare(link));
  }

  async take(
    session: LockSession,
    { name, note }: ServerLock,
    wait: number,
    signal?: AbortSignal,
  ): Promise<number | undefined> {
    const locked = await this.lock(session, name, wait, signal);
    // The clock stands still within a statement, so after a wait it could be older than the
    // last token. So another statement reads it.
    if (locked) await session.send(`SET @nestjs_locked_token = ${US}, @nestjs_locked = ${hex(note)}`);
    const { rows } = await session.send(`SELECT @nestjs_locked_token AS token, ${READ_ONLY}`);
    assertWriter(rows[0]);
    return locked ? Number(rows[0]?.token) : undefined;
  }

  async holds(session: LockSession, { name }: ServerLock): Promise<boolean> {
    const { rows } = await session.send(
      `SELECT IS_USED_LOCK('${name}') = CONNECTION_ID() AS held, ${READ_ONLY}`,
    );
    assertWriter(rows[0]);
    return Number(rows[0]?.held) === 1;
  }

  async free(session: LockSession, { name }: ServerLock): Promise<boolean> {
    const { rows } = await session.send(`SELECT RELEASE_LOCK('${name}') AS freed`);
    return Number(rows[0]?.freed) === 1;
  }

  /**
   * After a restart of the server, another session may have the same id. So the store ends the
   * session only if it is still on the same server and holds the lock or waits for it.
   */
  async end(session: LockSession, { name }: ServerLock): Promise<void> {
    const [id = '', server = ''] = session.id.split('@');
    const [found] = await this.query(
      `SELECT id FROM information_schema.processlist
        WHERE id = ${id} AND ${SERVER} = ${hex(server)} AND (IS_USED_LOCK('${name}') = id OR info LIKE '%GET_LOCK(''${name}''%')`,
    );
    if (found) await this.kill(id);
  }

  async endHolders(lock: ServerLock): Promise<string[]> {
    const holders = await this.holders(lock);
    for (const holder of holders) await this.kill(holder);
    return holders;
  }

  async readClock(): Promise<number> {
    const [row] = await this.query(`SELECT ${US} AS now_us`);
    return Number(row?.now_us) / 1_000;
  }

  async holders({ name }: ServerLock): Promise<string[]> {
    const [row] = await this.query(`SELECT CAST(IS_USED_LOCK('${name}') AS CHAR) AS holder`);
    return typeof row?.holder === 'string' ? [row.holder] : [];
  }

  async look({ lock }: SessionsToLookAt, by?: LockSession): Promise<LockRecord[]> {
    await this.assertTells(by);
    const rows = await this.query(
      `SELECT l.object_name AS name, n.variable_value AS note, t.variable_value AS token,
              (SELECT COUNT(*) FROM performance_schema.metadata_locks w
                WHERE w.object_type = l.object_type AND w.object_name = l.object_name AND w.lock_status = 'PENDING') AS waiters
         FROM performance_schema.metadata_locks l
         JOIN performance_schema.user_variables_by_thread n
           ON n.thread_id = l.owner_thread_id AND n.variable_name = 'nestjs_locked'
         JOIN performance_schema.user_variables_by_thread t
           ON t.thread_id = l.owner_thread_id AND t.variable_name = 'nestjs_locked_token'
        WHERE l.object_type = 'USER LEVEL LOCK' AND l.lock_status = 'GRANTED'
          ${lock ? `AND l.object_name = '${lock.name}'` : ''}`,
      by,
    );
    return recordsOf(rows, this);
  }

  /**
   * Waits on the server until it grants the lock. MySQL waits only for whole seconds, so the
   * store polls for the rest of the wait.
   */
  private async lock(
    session: LockSession,
    name: string,
    wait: number,
    signal?: AbortSignal,
  ): Promise<boolean> {
    const until = performance.now() + wait;
    for (;;) {
      const left = Math.max(0, until - performance.now());
      const seconds = this.server.mariadb ? left / 1_000 : Math.floor(left / 1_000);
      const { rows } = await session.send(
        `SELECT GET_LOCK('${name}', ${seconds.toFixed(3)}) AS granted`,
        left,
      );
      const granted: unknown = rows[0]?.granted;
      if (granted === null) throw new Error('GET_LOCK() failed on the server');
      if (Number(granted) === 1) return true;
      const pause = Math.min(POLL, until - performance.now());
      if (pause <= 0 || signal?.aborted) return false;
      if (seconds < 1) await sleep(pause);
    }
  }

  private async kill(id: string): Promise<void> {
    try {
      await this.query(`KILL ${id}`);
    } catch (error) {
      // Error 1094 means that the session has already ended.
      if ((error as { errno?: unknown }).errno !== 1094) throw error;
    }
  }

  private async assertTells(by?: LockSession): Promise<void> {
    const [mdl] = await this.query(
      `SELECT enabled FROM performance_schema.setup_instruments WHERE name = '${MDL}'`,
      by,
    );
    if (mdl?.enabled === 'YES') return;
    const { text, mariadb } = this.server;
    throw new LockStoreError(
      !mariadb && !this.server.atLeast(5, 7)
        ? `MySQL ${text} does not show the holders of session locks. That needs MySQL 5.7 or newer.`
        : `This server (${text}) does not show the holders of session locks. Start it with performance_schema = ON and performance-schema-instrument = '${MDL}=ON'.`,
    );
  }

  /**
   * Checks the server and prepares the session. Resolves to the id by which the session is
   * known.
   */
  private async prepare(link: SessionLink): Promise<string> {
    const { rows: variables } = await link.send(
      `SHOW GLOBAL VARIABLES WHERE Variable_name IN
         ('wsrep_on', 'group_replication_single_primary_mode', 'max_execution_time', 'max_statement_time')`,
    );
    const values = new Map(variables.map((row) => [String(row.Variable_name), String(row.Value)]));
    if (values.get('wsrep_on') === 'ON')
      throw new LockStoreError(
        'This server is a node of a Galera cluster: each node could grant the same session lock to a different owner. Use sqlStore() or typeOrmStore(), which keep leases in a table.',
      );
    if (values.get('group_replication_single_primary_mode') === 'OFF')
      throw new LockStoreError(
        'This server is a member of a replication group with several writers: each member could grant the same session lock to a different session. Use sqlStore() or typeOrmStore(), which keep leases in a table.',
      );
    const unlimited = ['max_execution_time', 'max_statement_time'].filter((name) => values.has(name));
    const settings = [`wait_timeout = ${LONGEST_TIMEOUT}`, ...unlimited.map((name) => `${name} = 0`)];
    await link.send(`SET ${settings.map((setting) => `SESSION ${setting}`).join(', ')}`);
    const { rows } = await link.send(`SELECT CONCAT(CONNECTION_ID(), '@', ${SERVER}) AS id, ${READ_ONLY}`);
    assertWriter(rows[0]);
    return String(rows[0]?.id);
  }

  private async query(sql: string, by?: LockSession): Promise<Record<string, unknown>[]> {
    const { rows } = by ? await by.send(sql) : await this.pooled.use(OPERATION_LIMIT, (run) => run(sql));
    return rows;
  }
}

/**
 * Refuses a read-only server. The value of each variable is a number, or a word such as OFF or
 * NO_LOCK.
 */
function assertWriter(row: Record<string, unknown> = {}): void {
  for (const value of [row.read_only, row.innodb_read_only])
    if (value !== undefined && value !== 'OFF' && Number(value) !== 0) throw onDemotedServer();
}
