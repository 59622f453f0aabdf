import type { LeaseRenewal, LockAcquireResult } from '../../../interfaces/lock-store.interface.js';
import { LockStoreError } from '../../../lock.errors.js';
import { CONTENTION, isPlain } from '../../shared/conditions.js';
import type { Release, ReleaseToWaiter } from '../../shared/requests.js';
import { RESERVED_KEY, refusalInGrace } from '../grace-period.js';
import { granted, isTrue, refusalOf, refusedRelease, type LockRow, type RowRefusal } from '../lock-row.js';
import type {
  Answer,
  BatchStatements,
  ChangeResult,
  GuardRequest,
  GuardResult,
  LockStatements,
  PageRequest,
  PurgedSlice,
  PurgeSlice,
  Run,
  SqlAcquireRequest,
} from '../lock-statements.js';
import { MysqlBatches } from './mysql-batches.js';
import { mysqlBatchStatements } from './mysql-batch-statements.js';
import { purgeSlice } from './mysql-purge.js';
import { renewByTtl, type Renewals } from './mysql-renewals.js';
import {
  aloneStatements,
  AS_TEXT,
  gracePeriod,
  mysqlStatements,
  type MysqlServer,
  type MysqlStatements,
} from './mysql-statements.js';
import { bindEach, type Bind } from './mysql-values.js';
import { assertClock, clockRuns, orContention, withShortLockWait } from './session-settings.js';

type StatementName = keyof MysqlStatements | keyof ReturnType<typeof mysqlBatchStatements>;

/** How many times the store looks for the token of a lease that it has been granted. */
const TOKEN_LOOKS = 11;

/** Keeps locks in a table of MySQL or MariaDB. */
export class MysqlLocks implements LockStatements {
  /**
   * Renews many leases at once. Missing on MySQL 5, where one locked row would delay the
   * others, and for clients that do not report which rows were changed.
   */
  readonly renewMany: LockStatements['renewMany'];
  /**
   * The statements of batches. Missing where `renewMany` is missing, and before MariaDB 10.6,
   * which cannot skip a locked row.
   */
  readonly batches: BatchStatements | undefined;
  private readonly bind: Record<StatementName, Bind>;
  /**
   * Whether statements wait for locked rows, as on MySQL 5, which can neither skip a locked
   * row nor limit the wait of one statement.
   */
  private readonly waits: boolean;

  constructor(
    table: string,
    private readonly server: MysqlServer,
  ) {
    const statements = {
      ...mysqlStatements(table, server),
      ...aloneStatements(table),
      ...mysqlBatchStatements(table, server),
    };
    this.bind = bindEach(statements, AS_TEXT);
    this.waits = !server.mariadb && !server.skipsLocked;
    if (!this.waits && !server.alone)
      this.renewMany = (run, leases) => renewByTtl(this.renewals(run), leases);
    if (server.skipsLocked && !server.alone)
      this.batches = new MysqlBatches({
        change: (run, statement, values) => this.sendByClock(run, statement, values),
        insert: (run, statement, values) => this.insert(run, statement, values),
        read: (run, statement, values) => this.read(run, statement, values),
        look: (run, statement, values) => this.send(run, statement, values),
      });
  }

  gracePeriod(table: string, longest: number): string {
    return gracePeriod(table, longest, this.server);
  }

  async acquire(run: Run, request: SqlAcquireRequest): Promise<LockAcquireResult | RowRefusal> {
    if (this.waits && !request.resend) {
      // The attempt reads first, since a read never waits for a locked row.
      const refusal = await this.refusal(run, request);
      if (refusal && refusal !== CONTENTION) return refusal;
    }
    return this.withShortWait(run, async () => {
      const first = isPlain(request) ? 'acquire' : 'acquire-on-conditions';
      const statement = request.resend ? 'acquire-again' : first;
      const token = await this.change(run, statement, request, request.owner);
      if (token) return granted(token);
      const refusal = await this.refusal(run, request);
      if (refusal) return refusal;
      const { affected, insertId } = await this.insert(run, 'acquire-new', request);
      if (affected > 0) return granted(insertId || (await this.tokenOf(run, request)));
      return (await this.isDue(run, request)) ? CONTENTION : { acquired: false, reason: 'tick-ahead' };
    });
  }

  async renew(run: Run, lease: LeaseRenewal): Promise<ChangeResult> {
    return this.changeOrLook(run, 'renew', lease, 'leased');
  }

  private renewals(run: Run): Renewals {
    return {
      server: this.server,
      assertClock: () => assertClock(run),
      renew: (lease) => this.renew(run, lease),
      send: (values) => this.send(run, 'renew-many', values),
      look: (values) => this.read(run, 'renew-many-look', values),
    };
  }

  async release(run: Run, request: Release): Promise<ChangeResult> {
    return this.changeOrLook(run, 'release', request, 'leased');
  }

  async releaseToWaiter(run: Run, request: ReleaseToWaiter): Promise<LockAcquireResult> {
    const token = await this.withShortWait(run, () =>
      this.change(run, 'release-to-waiter', request, request.nextOwner),
    );
    if (token) return granted(token);
    const [row] = await this.read(run, 'look', request);
    return refusedRelease(isTrue(row?.leased ?? 0) ? { paused: row?.paused } : undefined);
  }

  async forceRelease(run: Run, key: string): Promise<ChangeResult> {
    return this.changeOrLook(run, 'force-release', { key }, 'held');
  }

  async pause(run: Run, key: string): Promise<ChangeResult> {
    const changed = await this.changeOrLook(run, 'pause', { key }, 'unpaused');
    if (changed !== 'gone') return changed;
    const { row, grace } = await this.rowAndGrace(run, key);
    if (row) return isTrue(row.paused) ? 'gone' : 'locked';
    // If the table was created again, a new row is kept until the end of the grace period.
    const keptUntil = Number(grace?.expires_ms ?? 0);
    const added = this.withShortWait(run, () => this.insert(run, 'pause-new', { key, keptUntil }));
    return (await orContention(added)) ? 'done' : 'locked';
  }

  async resume(run: Run, key: string): Promise<ChangeResult> {
    return this.changeOrLook(run, 'resume', { key }, 'paused');
  }

  async guard(run: Run, request: GuardRequest): Promise<GuardResult> {
    for (const statement of ['guard', 'guard-again'] as const) {
      const [row] = (await this.send(run, statement, request)).rows;
      if (!row) {
        await assertClock(run);
        return 'gone';
      }
      if ('inside' in row && Number(row.inside) === 0) return 'outside';
    }
    return 'held';
  }

  async readClock(run: Run): Promise<number> {
    return Number((await this.send(run, 'read-clock', {})).rows[0]?.now_ms);
  }

  async find(run: Run, key: string): Promise<LockRow | undefined> {
    return lockRows(await this.read(run, 'inspect', { key }))[0];
  }

  async list(run: Run, page: PageRequest): Promise<LockRow[]> {
    return lockRows(await this.read(run, 'list', page));
  }

  async purge(run: Run, slice: PurgeSlice): Promise<PurgedSlice> {
    return this.withShortWait(run, () =>
      purgeSlice(slice, {
        look: () => this.send(run, 'purge-look', slice),
        assertClock: () => assertClock(run),
        remove: (values) => this.send(run, 'purge', values),
      }),
    );
  }

  /**
   * Changes a row. Resolves to the row's token, or to `undefined` if no row was changed.
   *
   * @param owner the new owner of the row, if the caller needs the token
   */
  private async change(
    run: Run,
    statement: StatementName,
    values: { key: string },
    owner?: string,
  ): Promise<number | undefined> {
    const changed = await orContention(this.sendByClock(run, statement, values));
    if (!this.server.alone || !changed?.affected) return changed?.insertId || undefined;
    return owner === undefined ? changed.affected : this.tokenOf(run, { key: values.key, owner });
  }

  /**
   * Reads the token of a lease that was just granted, for clients that do not return it. It
   * tries several connections: a connection that the application left in a transaction may not
   * see the row yet.
   *
   * @throws LockStoreError if no connection shows the lease, so that the outcome is unknown
   */
  private async tokenOf(run: Run, lease: { key: string; owner: string }): Promise<number> {
    for (let looks = 0; looks < TOKEN_LOOKS; looks++) {
      const { rows } = await this.send(run, 'token-look', lease);
      if (rows[0]) return Number(rows[0].token);
    }
    throw new LockStoreError(
      `The lock "${lease.key}" was granted, but the row of the lock does not show the grant. Either the lock was lost at once, or the statement reached a replica. Let the client send all its statements to the writer.`,
      { transient: true },
    );
  }

  /** Whether the tick of an attempt has come, read after an insert that inserted no row. */
  private async isDue(run: Run, request: SqlAcquireRequest): Promise<boolean> {
    // Without the condition ALONE, only a tick that lies ahead can prevent the insert.
    if (!this.server.alone) return false;
    const [row] = await this.read(run, 'due-look', request);
    return isTrue(row?.due);
  }

  /**
   * Changes a row. If the row meets the condition but was not changed, another session has
   * locked it or has just changed it, so the caller retries.
   */
  private async changeOrLook(
    run: Run,
    statement: StatementName,
    values: { key: string },
    condition: 'leased' | 'held' | 'paused' | 'unpaused',
  ): Promise<ChangeResult> {
    return this.withShortWait(run, async () => {
      if (await this.change(run, statement, values)) return 'done';
      const [row] = await this.read(run, 'look', { owner: null, ...values });
      return isTrue(row?.[condition] ?? 0) ? 'locked' : 'gone';
    });
  }

  /**
   * Inserts rows, and waits only briefly for other sessions. On MySQL the session has that
   * limit, since a statement cannot limit its own wait.
   */
  private async insert(run: Run, statement: StatementName, values: object): Promise<Answer> {
    const insert = async () => this.send(run, statement, values);
    return this.server.mariadb || this.waits ? insert() : withShortLockWait(run, insert);
  }

  private async withShortWait<T>(run: Run, work: () => Promise<T>): Promise<T> {
    return this.waits ? withShortLockWait(run, work) : work();
  }

  private async refusal(run: Run, request: SqlAcquireRequest): Promise<RowRefusal | undefined> {
    const { row, grace } = await this.rowAndGrace(run, request.key);
    return row ? (refusalOf(row, request) ?? CONTENTION) : refusalInGrace(grace, request);
  }

  private async rowAndGrace(run: Run, key: string): Promise<{ row?: LockRow; grace?: LockRow }> {
    const rows = lockRows(await this.read(run, 'inspect-with-grace', { key }));
    const isGrace = (row: LockRow) => String(row.key) === RESERVED_KEY;
    return { row: rows.find((row) => !isGrace(row)), grace: rows.find(isGrace) };
  }

  /**
   * Reads rows together with the server's clock. If the query was slow, it looks as if the
   * session's clock stood still, so it is sent again.
   */
  private async read(run: Run, statement: StatementName, values: object): Promise<Answer['rows']> {
    const { rows } = await this.send(run, statement, values);
    if (clockRuns(rows[0])) return rows;
    await assertClock(run);
    return (await this.send(run, statement, values)).rows;
  }

  /**
   * Sends a change whose times come from the server's clock, after checking that the session
   * uses this clock.
   */
  private async sendByClock(run: Run, statement: StatementName, values: object): Promise<Answer> {
    if (this.server.logsStatements) await assertClock(run);
    return this.send(run, statement, values);
  }

  private async send(run: Run, statement: StatementName, values: object): Promise<Answer> {
    return run(...this.bind[statement](values));
  }
}

/** Returns the rows of locks, without the row that only reports the clock. */
function lockRows(rows: Answer['rows']): LockRow[] {
  return rows.filter(({ key }) => key !== null) as unknown as LockRow[];
}
