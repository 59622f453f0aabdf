import { setTimeout as sleep } from 'node:timers/promises';
import type { PurgeRequest } from '../../interfaces/lock-store.interface.js';
import type { LockOperations } from './lock-operations.js';
import type { PurgedSlice } from './lock-statements.js';

/**
 * Purges slice by slice, and pauses after each slice for as long as it took, so that other
 * sessions write meanwhile.
 */
export async function purgeKeys(
  operations: LockOperations,
  { prefix, olderThan }: Required<PurgeRequest>,
): Promise<number> {
  let purged = 0;
  for (let after = ''; ;) {
    const startedAt = performance.now();
    const slice = await operations.insist<PurgedSlice>(
      { doing: 'purge unused keys' },
      ({ statements }, run) => statements.purge(run, { prefix, after, olderThan }),
    );
    purged += slice.purged;
    if (!slice.last?.startsWith(prefix)) return purged; // keys that start alike stand together
    after = slice.last;
    await sleep(performance.now() - startedAt);
  }
}
