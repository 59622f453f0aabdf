import type { LockRecord } from '../../../interfaces/lock-record.interface.js';
import { LockStoreError } from '../../../lock.errors.js';
import { OPERATION_LIMIT } from '../../shared/operation-limit.js';
import { PooledConnections } from '../pooled-connections.js';
import { PgDriver, type PgClient } from './pg-driver.js';
import { assertPostgres } from '../server-checks.js';
import { LockSession, onDemotedServer } from '../sessions/lock-session.js';
import { openPostgresLink, type PostgresLink } from './postgres-link.js';
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

const US = `(date_part('epoch', clock_timestamp()) * 1000000)::bigint::text`;
const OURS = `l.locktype = 'advisory' AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())`;
// The name of a lock in `pg_locks`, as the signed number that the functions for locks use.
const NAME = `((l.classid::bigint << 32) | l.objid::bigint)::text`;
// Identifies a session by pid and start, since the server uses pids again.
const IDENTITY = `pid::text || ' ' || date_part('epoch', backend_start)::text`;

/**
 * The length of the readable part of `application_name`, which has 63 bytes in all. The token
 * follows the readable part.
 */
const TITLE = 44;
const TIMED_OUT = '55P03';

const READ_ONLY = `current_setting('default_transaction_read_only')`;
/**
 * Values of `source` in `pg_settings` for settings that do not come from the server: they
 * belong to the role or the session.
 */
const OWN_CHOICE = new Set<unknown>(['user', 'database user', 'client', 'interactive', 'session']);

export async function openPostgresSessions(
  executor: DriverExecutor,
  settings: SessionSettings,
): Promise<PostgresSessions> {
  const pooled = new PooledConnections(executor as DriverExecutor<PgClient>, new PgDriver());
  const { rows } = await pooled.use(OPERATION_LIMIT, (run) => run('SELECT version() AS version'));
  assertPostgres(String(rows[0]?.version));
  return new PostgresSessions(executor, settings, pooled);
}

/**
 * Session locks by advisory locks of PostgreSQL.
 *
 * Every statement begins with a comment that contains the key and the label, since
 * `pg_stat_activity` shows the last statement of an idle session. The token is in
 * `application_name`, since it is known only after the grant.
 */
export class PostgresSessions implements SessionDatabase {
  readonly kind = 'postgres';

  constructor(
    private readonly executor: DriverExecutor,
    private readonly settings: SessionSettings,
    private readonly pooled: PooledConnections<PgClient>,
  ) {}

  lockOf(key: string, label: string | null): ServerLock {
    const name = digestOf(key).readBigInt64BE().toString();
    return { name, title: titleOf(key, TITLE), note: noteOf(key, label) };
  }

  async connect(): Promise<LockSession> {
    const link = await openPostgresLink(this.executor, this.settings.keepAlive);
    return LockSession.begin(link, this.settings.answerLimit, () => this.prepare(link));
  }

  async take(
    session: LockSession,
    { name, title, note }: ServerLock,
    wait: number,
  ): Promise<number | undefined> {
    const settings = `SET application_name = '${title}'; SET lock_timeout = ${Math.ceil(wait)};`;
    const lock = wait > 0 ? `pg_advisory_lock(${name})::text IS NOT NULL` : `pg_try_advisory_lock(${name})`;
    // The CASE and the materialized CTE make PostgreSQL take the lock first, then read the
    // clock, and then evaluate the rest.
    const sql = `${comment(note)} ${wait > 0 ? settings : ''}
      WITH granted AS MATERIALIZED (SELECT CASE WHEN ${lock} THEN ${US} END AS token)
      SELECT token, ${READ_ONLY} AS read_only,
             CASE WHEN token IS NOT NULL THEN set_config('application_name', '${title} #' || token, false) END AS title
        FROM granted`;
    try {
      const { rows } = await session.send(sql, wait);
      const token = rows[0]?.token ?? null;
      // A session reads new settings of the server only between two statements. So after a
      // long wait, the value of read_only in the same statement may be outdated.
      const look = `${comment(note)} SELECT ${READ_ONLY} AS read_only`;
      const known = wait > 0 && token !== null ? (await session.send(look)).rows : rows;
      await this.assertWriter(session, known[0], note);
      return token === null ? undefined : Number(token);
    } catch (error) {
      if ((error as { code?: unknown }).code !== TIMED_OUT) throw error;
      // If the server granted the lock just before the time ran out, the session has the lock
      // although the statement failed. So all locks of the session are released.
      const { rows } = await session.send(`SELECT pg_advisory_unlock_all(), ${READ_ONLY} AS read_only`);
      await this.assertWriter(session, rows[0]);
      return undefined;
    }
  }

  async holds(session: LockSession, { name, note }: ServerLock): Promise<boolean> {
    const { rows } = await session.send(
      `${comment(note)} SELECT count(*)::text AS held, ${READ_ONLY} AS read_only FROM pg_locks l
        WHERE ${OURS} AND l.granted AND l.pid = pg_backend_pid() AND ${NAME} = '${name}'`,
    );
    await this.assertWriter(session, rows[0], note);
    return rows[0]?.held === '1';
  }

  async free(session: LockSession, { name }: ServerLock): Promise<boolean> {
    const { rows } = await session.send(
      `SET application_name = 'nestjs-locked'; SELECT pg_advisory_unlock(${name})::text AS freed`,
    );
    return rows[0]?.freed === 'true';
  }

  async end(session: LockSession): Promise<void> {
    await this.query(
      `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE ${IDENTITY} = '${session.id}'`,
    );
  }

  async endHolders({ name }: ServerLock): Promise<string[]> {
    const ended = await this.query(
      `SELECT l.pid::text AS id, pg_terminate_backend(l.pid) FROM pg_locks l
        WHERE ${OURS} AND l.granted AND ${NAME} = '${name}'`,
    );
    return ended.map(({ id }) => String(id));
  }

  async readClock(): Promise<number> {
    const [row] = await this.query(`SELECT ${US} AS now_us`);
    return Number(row?.now_us) / 1_000;
  }

  async holders({ name }: ServerLock): Promise<string[]> {
    const holders = await this.query(
      `SELECT l.pid::text AS id FROM pg_locks l WHERE ${OURS} AND l.granted AND ${NAME} = '${name}'`,
    );
    return holders.map(({ id }) => String(id));
  }

  async look({ lock, prefix = '' }: SessionsToLookAt, by?: LockSession): Promise<LockRecord[]> {
    const rows = await this.query(
      `SELECT ${NAME} AS name, substring(query FROM '^/[*]nestjs-locked ([A-Za-z0-9_.-]*)[*]/') AS note,
              substring(application_name FROM '^(.*) #[0-9]{16}$') AS title,
              substring(application_name FROM ' #([0-9]{16})$') AS token, (state = 'active')::text AS active,
              (SELECT count(*)::text FROM pg_locks w
                WHERE NOT w.granted AND (w.locktype, w.database, w.classid, w.objid, w.objsubid)
                                      = (l.locktype, l.database, l.classid, l.objid, l.objsubid)) AS waiters
         FROM pg_locks l JOIN pg_stat_activity USING (pid)
        WHERE ${OURS} AND l.granted ${lock ? `AND ${NAME} = '${lock.name}'` : ''}`,
      by,
    );
    const hidden = rows.find(
      ({ note, title, active }) =>
        note === null &&
        active !== 'true' &&
        typeof title === 'string' &&
        title.startsWith(titleOf(prefix, TITLE)),
    );
    if (hidden)
      throw new LockStoreError(
        'PostgreSQL does not show the holders of session locks to this role. Let all instances connect with the same role, or GRANT pg_read_all_stats to this role. Set track_activities to on, and track_activity_query_size to 1024 or more.',
      );
    return recordsOf(rows, this);
  }

  /**
   * Checks the server and prepares the session. Resolves to the id by which the session is
   * known.
   */
  private async prepare(link: PostgresLink): Promise<string> {
    const { rows } = await link.send(
      `SELECT pid::text AS pid, ${IDENTITY} AS identity, pg_is_in_recovery()::text AS standby,
              ${READ_ONLY} AS read_only
         FROM pg_stat_activity WHERE pid = pg_backend_pid()`,
    );
    const [{ pid, identity, standby, ...readOnly } = {}] = rows;
    if (Number(pid) !== link.pid && !this.settings.allowPooler)
      throw new LockStoreError(
        'Between the application and PostgreSQL there is a pooler, such as PgBouncer: in its transaction mode, two holders could have the same session lock. Connect without the pooler, or use sqlStore() or typeOrmStore(), whose leases work behind a pooler. If the pooler gives each client its own session, set allowPooler: true.',
      );
    if (standby === 'true')
      throw new LockStoreError(
        'This PostgreSQL server is a standby: its session locks exclude no session on other servers. Connect to the primary.',
        { transient: true },
      );
    await this.assertWriter(link, readOnly);
    await link.send(this.patience());
    return String(identity);
  }

  /**
   * Refuses a server that takes no writes. It accepts a role that is set to read-only on a
   * writer, since session locks are valid there.
   */
  private async assertWriter(
    link: Pick<LockSession, 'send'>,
    { read_only: readOnly }: Record<string, unknown> = {},
    note = '',
  ): Promise<void> {
    if (readOnly !== 'on') return;
    const { rows } = await link.send(
      `${comment(note)} SELECT source FROM pg_settings WHERE name = 'default_transaction_read_only'`,
    );
    if (!OWN_CHOICE.has(rows[0]?.source)) throw onDemotedServer();
  }

  /**
   * Returns a statement that turns off the server's limits on waits and on idle sessions. Its
   * keep-alive settings make the server give up a dead connection only after the client has
   * done so.
   */
  private patience(): string {
    const seconds = Math.ceil(this.settings.keepAlive / 1_000);
    const wanted = {
      statement_timeout: 0,
      transaction_timeout: 0,
      idle_session_timeout: 0,
      idle_in_transaction_session_timeout: 0,
      tcp_keepalives_idle: seconds + 20,
      tcp_keepalives_interval: 10,
      tcp_keepalives_count: 3,
    };
    const values = Object.entries(wanted).map(([name, value]) => `('${name}', '${value}')`);
    return `SELECT set_config(name, wanted, false) FROM (VALUES ${values.join(', ')}) AS w (setting_name, wanted)
              JOIN pg_settings ON name = setting_name`;
  }

  private async query(sql: string, by?: LockSession): Promise<Record<string, unknown>[]> {
    const { rows } = by ? await by.send(sql) : await this.pooled.use(OPERATION_LIMIT, (run) => run(sql));
    return rows;
  }
}

function comment(note: string): string {
  return `/*nestjs-locked ${note}*/`;
}
