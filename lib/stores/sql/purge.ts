import { setTimeout as sleep } from 'node:timers/promises';
import type { PurgeRequest } from '../../interfaces/lock-store.interface.js';
import type { LockOperations } from './lock-operations.js';
import type { PurgedSlice } from './lock-statements.js';

/**
 * Purges unused keys slice by slice. After each slice, it pauses for as long as the slice
 * took, so that other sessions can write meanwhile.
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
    // The keys with the prefix are neighbours, so they end at the first key without it.
    if (!slice.last?.startsWith(prefix)) return purged;
    after = slice.last;
    await sleep(performance.now() - startedAt);
  }
}
