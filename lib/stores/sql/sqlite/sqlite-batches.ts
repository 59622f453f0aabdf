import type { Release } from '../../shared/requests.js';
import { refusalInGrace } from '../grace-period.js';
import { granted, isTrue, refusalOf, type LockRow, type NoRow, type RowRefusal } from '../lock-row.js';
import type { BatchResult, BatchStatements, Run, SqlAcquireRequest } from '../lock-statements.js';
import type { SqliteStatements } from './sqlite-statements.js';

/**
 * The row of a key, with the clock. The beginning and the end of the grace period are null,
 * unless the table was created again.
 */
export type Look = (LockRow | NoRow) & { grace_started_ms: unknown; grace_expires_ms: unknown };

/**
 * Serves many requests with one statement, and so with one write to the disk. If the statement
 * fails, it has served none of them.
 */
export class SqliteBatches implements BatchStatements {
  /**
   * Requests of the same turn of the event loop share a statement, since a statement of
   * better-sqlite3 blocks the event loop.
   */
  readonly limits = { alone: 1, smallest: 2, gathers: true };

  constructor(private readonly statements: SqliteStatements) {}

  /**
   * Reads the rows before it writes, since a read never waits, and most refusals need no
   * write.
   */
  async acquire(run: Run, requests: readonly SqlAcquireRequest[]): Promise<BatchResult[]> {
    const results = new Map<string, BatchResult>();
    const byKey = new Map(requests.map((request) => [request.key, request]));
    const wanted = {
      requests: JSON.stringify(requests.map(({ key, owner, resend }) => [key, resend ? owner : null])),
    };
    for (const look of (await run(this.statements['acquire-many-look'], [wanted])).rows) {
      const request = byKey.get(String(look.wanted));
      const refusal = request && refusalByLook(look as unknown as Look, request);
      if (request && isTrue(look.own)) results.set(request.key, undefined);
      else if (refusal) results.set(request.key, refusal);
    }
    const free = requests.filter(({ key }) => !results.has(key));
    if (free.length > 0) {
      const values = {
        requests: JSON.stringify(free.map(({ key, owner, ttl, label }) => [key, owner, ttl, label])),
      };
      for (const { key, token } of (await run(this.statements['acquire-many'], [values])).rows)
        results.set(String(key), granted(token));
    }
    return requests.map(({ key }) => results.get(key));
  }

  async release(run: Run, releases: readonly Release[]): Promise<('done' | undefined)[]> {
    const values = {
      releases: JSON.stringify(releases.map(({ key, owner, outcome }) => [key, owner, outcome])),
    };
    const { rows } = await run(this.statements['release-many'], [values]);
    const released = new Set(rows.map(({ key }) => String(key)));
    return releases.map(({ key }) => (released.has(key) ? 'done' : undefined));
  }
}

/**
 * Returns the refusal of a request, according to the row that was read; `undefined` for a free
 * key.
 */
export function refusalByLook(look: Look, request: SqlAcquireRequest): RowRefusal | undefined {
  const refusal = request.resend ? undefined : refusalOf(look, request);
  if (refusal || look.key !== null) return refusal;
  const grace = { ...look, started_ms: look.grace_started_ms, expires_ms: look.grace_expires_ms };
  return refusalInGrace(grace, request);
}
