import { isTrue } from '../lock-row.js';
import { PURGE_SLICE, type Answer, type PurgedSlice, type PurgeSlice } from '../lock-statements.js';
import { clockRuns, orContention } from './session-settings.js';

/** Functions that send the statements of a purge, all on one connection. */
export interface PurgeRequests {
  /** Reads the keys of the slice, and which of them are unused. */
  look(): Promise<Answer>;
  /** @throws UnusableConnectionError if the session does not use the server's clock */
  assertClock(): Promise<void>;
  /** Deletes those of the given keys that are still unused. */
  remove(values: object): Promise<Answer>;
}

/**
 * How many milliseconds a purge may take to delete keys one by one. MySQL 5 waits for up to
 * two seconds for each locked row, and the whole operation has ten seconds.
 */
const ONE_BY_ONE = 5_000;

/** Deletes the unused keys of a slice. */
export async function purgeSlice(slice: PurgeSlice, requests: PurgeRequests): Promise<PurgedSlice> {
  const { rows } = await requests.look();
  if (!rows.every(clockRuns)) await requests.assertClock();
  const unused = rows.filter((row) => isTrue(row.unused)).map((row) => String(row.key));
  const last = rows.length === PURGE_SLICE ? String(rows.at(-1)?.key) : undefined;
  return { purged: unused.length === 0 ? 0 : await removeKeys(unused, slice, requests), last };
}

/**
 * Deletes keys with one statement. If a locked row makes it fail, deletes the keys one by one,
 * as long as there is time.
 */
async function removeKeys(
  keys: readonly string[],
  { olderThan }: PurgeSlice,
  requests: PurgeRequests,
): Promise<number> {
  const remove = async (some: readonly string[]) =>
    orContention(requests.remove({ keys: some, olderThan, limit: some.length }));
  const together = await remove(keys);
  if (together) return together.affected;
  const until = performance.now() + ONE_BY_ONE;
  let removed = 0;
  for (const key of keys) {
    if (performance.now() > until) break; // the next purge finds the keys that remain
    removed += (await remove([key]))?.affected ?? 0;
  }
  return removed;
}
