import { CONTENTION } from '../../shared/conditions.js';
import type { Release } from '../../shared/requests.js';
import { granted, refusalOf, type HolderRow } from '../lock-row.js';
import type { Answer, BatchResult, BatchStatements, Run, SqlAcquireRequest } from '../lock-statements.js';
import type { PostgresStatements } from './postgres-statements.js';

/** Sends the statement that has this name. */
type Send = (run: Run, name: keyof PostgresStatements, values: readonly unknown[]) => Promise<Answer>;

/**
 * Serves many requests for keys with one statement. Keys without a row need another statement.
 */
export class PostgresBatches implements BatchStatements {
  /**
   * Up to three requests are sent one by one at the same time, since the server combines their
   * writes to the disk. Further requests share statements.
   */
  readonly limits = { alone: 3, smallest: 3 };

  constructor(private readonly send: Send) {}

  async acquire(run: Run, requests: readonly SqlAcquireRequest[]): Promise<BatchResult[]> {
    const { rows } = await this.send(run, 'acquire-many', [
      ...columnsOf(requests),
      requests.map(({ resend }) => resend),
    ]);
    const results = requests.map((): BatchResult => undefined);
    const unknown: number[] = [];
    for (const { place, won, refuser } of rows) {
      const i = Number(place) - 1;
      const request = requests[i];
      if (won !== null) results[i] = granted(won);
      else if (refuser === null) unknown.push(i);
      else if (request)
        results[i] = refusalOf(JSON.parse(refuser as string) as HolderRow, request) ?? CONTENTION;
    }
    if (unknown.length > 0) await this.insert(run, requests, unknown, results);
    return results;
  }

  async release(run: Run, releases: readonly Release[]): Promise<('done' | undefined)[]> {
    const columns = [
      releases.map(({ key }) => key),
      releases.map(({ owner }) => owner),
      releases.map(({ outcome }) => outcome),
    ];
    const { rows } = await this.send(run, 'release-many', columns);
    const results = releases.map((): 'done' | undefined => undefined);
    for (const { place } of rows) results[Number(place) - 1] = 'done';
    return results;
  }

  /**
   * Grants keys that had no row. A request gets no result here if another session is inserting
   * its key, or if it is re-sent and its owner already has the lock.
   */
  private async insert(
    run: Run,
    requests: readonly SqlAcquireRequest[],
    places: readonly number[],
    results: BatchResult[],
  ): Promise<void> {
    const added = places.flatMap((place) => requests[place] ?? []);
    const [{ longest } = { longest: 0 }] = added;
    const { rows } = await this.send(run, 'acquire-many-new', [...columnsOf(added), longest]);
    const tokens = new Map(rows.map(({ key, won }) => [String(key), won]));
    for (const place of places) {
      const token = tokens.get(requests[place]?.key ?? '');
      if (token !== undefined) results[place] = granted(token);
    }
  }
}

function columnsOf(requests: readonly SqlAcquireRequest[]): unknown[][] {
  return [
    requests.map(({ key }) => key),
    requests.map(({ owner }) => owner),
    requests.map(({ ttl }) => ttl),
    requests.map(({ label }) => label),
  ];
}
