import { CONTENTION } from '../../shared/conditions.js';
import type { Release } from '../../shared/requests.js';
import { RESERVED_KEY, refusalInGrace } from '../grace-period.js';
import { granted, isTrue, refusalOf, type LockRow } from '../lock-row.js';
import type {
  Answer,
  BatchResult,
  BatchStatements,
  Run,
  Settle,
  SqlAcquireRequest,
} from '../lock-statements.js';
import { isServerAnswer } from '../store-failure.js';
import type { mysqlBatchStatements } from './mysql-batch-statements.js';
import { orContention } from './session-settings.js';

type StatementName = keyof ReturnType<typeof mysqlBatchStatements>;
type Send<T> = (run: Run, statement: StatementName, values: object) => Promise<T>;

/** Functions that send the statements of a batch to the server. */
export interface MysqlSenders {
  /** Changes rows, if the session uses the server's clock; otherwise changes nothing. */
  change: Send<Answer>;
  /** Inserts rows, and waits only briefly for other sessions. */
  insert: Send<Answer>;
  /** Reads rows together with the server's clock. */
  read: Send<Answer['rows']>;
  /** Reads rows without regard to the clock. */
  look: Send<Answer>;
}

/**
 * A row that the query after a batch has found, and which request of the batch asked for it.
 */
type SeenRow = LockRow & { place: unknown; own: unknown };

/**
 * Serves many requests with one statement. If it did not serve all of them, a query shows
 * which requests it served. Keys without a row need another statement.
 */
export class MysqlBatches implements BatchStatements {
  /**
   * These limits were measured with a pool of ten connections. For fewer callers, batches are
   * slower, since the server already combines the disk writes of simultaneous statements.
   */
  readonly limits = { alone: 5, smallest: 15 };

  constructor(private readonly senders: MysqlSenders) {}

  async acquire(run: Run, requests: readonly SqlAcquireRequest[], settle: Settle): Promise<BatchResult[]> {
    const { affected, insertId } = await this.senders.change(run, 'acquire-many', {
      requests: requestsAsJson(requests),
    });
    if (affected === requests.length) return requests.map(() => granted(insertId));
    const { results, added } = await this.look(run, requests, affected, insertId);
    if (added.length === 0) return results;
    // These results are final, since the query after the batch fails on a connection in an
    // open transaction.
    for (const [i, result] of results.entries()) if (result) settle(i, result);
    const fresh = await this.insert(run, added);
    return requests.map((request, i) => results[i] ?? fresh.get(request));
  }

  async release(run: Run, releases: readonly Release[]): Promise<('done' | 'doubtful' | undefined)[]> {
    const json = releasesAsJson(releases);
    const { affected, insertId } = await this.senders.change(run, 'release-many', { releases: json });
    if (affected === releases.length) return releases.map(() => 'done');
    if (affected === 0) return releases.map(() => undefined);
    const places = await this.releasedPlaces(run, { releases: json, endedAt: insertId });
    // The query may find fewer released rows than the statement has released: a key has a new
    // holder already, or a proxy has sent the query to a replica.
    const others = places.size === affected ? undefined : 'doubtful';
    return releases.map((_, i) => (places.has(i + 1) ? 'done' : others));
  }

  /**
   * Returns the places of the released keys. The result is empty if the server refuses the
   * query, even though the keys may be released.
   */
  private async releasedPlaces(run: Run, values: object): Promise<Set<number>> {
    try {
      const { rows } = await this.senders.look(run, 'release-many-look', values);
      return new Set(rows.map(({ place }) => Number(place)));
    } catch (error) {
      if (!isServerAnswer(error)) throw error;
      return new Set();
    }
  }

  /**
   * Grants keys that had no row. If another session is inserting one of these keys, all
   * requests wait for it.
   */
  private async insert(
    run: Run,
    requests: readonly SqlAcquireRequest[],
  ): Promise<Map<SqlAcquireRequest, BatchResult>> {
    const inserted = await orContention(
      this.senders.insert(run, 'acquire-many-new', { requests: requestsAsJson(requests) }),
    );
    if (!inserted) return new Map();
    const { affected, insertId } = inserted;
    if (affected === requests.length) return new Map(requests.map((request) => [request, granted(insertId)]));
    const { results } = await this.look(run, requests, affected, insertId);
    return new Map(requests.map((request, i) => [request, results[i]]));
  }

  /**
   * Reads which requests of a batch were granted, and why the others were not.
   *
   * @param changed how many rows the batch has granted
   * @param token the token of these rows
   * @returns the results, and the requests whose keys have no row
   */
  private async look(
    run: Run,
    requests: readonly SqlAcquireRequest[],
    changed: number,
    token: number,
  ): Promise<{ results: BatchResult[]; added: SqlAcquireRequest[] }> {
    const values = { requests: requestsAsJson(requests, RESERVED_KEY) };
    const rows = (await this.senders.read(run, 'acquire-many-look', values)) as unknown as SeenRow[];
    const inPlace = new Map(rows.map((row) => [Number(row.place) - 1, row]));
    const grace = inPlace.get(requests.length);
    const isGranted = (row: SeenRow) => isTrue(row.own) && Number(row.token) === token;
    const mine = rows.filter(isGranted).length;
    // The query may find fewer granted rows than the batch has granted: a lease has already
    // ended, or a proxy has sent the query to a replica.
    const isDoubtful = mine !== changed;
    const added: SqlAcquireRequest[] = [];
    const results = requests.map((request, i): BatchResult => {
      const row = inPlace.get(i);
      if (row && isGranted(row)) return granted(token);
      if (!row || isDoubtful || (request.resend && isTrue(row.own))) return undefined;
      if (row.key !== null) return refusalOf(row, request) ?? contentionFor(row);
      const refusal = grace?.key == null ? undefined : refusalInGrace(grace, request);
      if (!refusal) added.push(request);
      return refusal;
    });
    return { results, added };
  }
}

/**
 * Returns the result for a free row that was not granted. Usually another session has locked
 * it, or has just freed it. If the clock has not yet passed the row's token, the request has
 * to be sent outside of the batch.
 */
function contentionFor({ token, now_ms: now }: LockRow): BatchResult {
  return Number(token) < Number(now) * 1_000 ? CONTENTION : undefined;
}

/** @param lastKey another key that is read after those of the requests */
function requestsAsJson(requests: readonly SqlAcquireRequest[], lastKey?: string): string {
  const items: unknown[] = requests.map(({ key, owner, ttl, label, resend }) => [
    hexOf(key),
    hexOf(owner),
    ttl,
    label === null ? null : hexOf(label),
    resend ? 1 : 0,
  ]);
  if (lastKey !== undefined) items.push([hexOf(lastKey)]);
  return JSON.stringify(items);
}

function releasesAsJson(releases: readonly Release[]): string {
  return JSON.stringify(releases.map(({ key, owner, outcome }) => [hexOf(key), hexOf(owner), outcome]));
}

function hexOf(text: string): string {
  return Buffer.from(text).toString('hex');
}
