import type { LockRecord } from '../interfaces/lock-record.interface.js';
import type { LockService } from '../lock.service.js';

const PAGE = 1000;

/** The locks that are held, page by page, ordered by key. */
export async function* pagesOf(locks: LockService): AsyncGenerator<LockRecord[]> {
  for (let after: string | undefined; ;) {
    const page = await locks.admin.list({ limit: PAGE, after });
    yield page.locks;
    if (page.next === undefined) return;
    after = page.next;
  }
}

/** All locks that are held, ordered by key. */
export async function allLocks(locks: LockService): Promise<LockRecord[]> {
  const found: LockRecord[] = [];
  for await (const page of pagesOf(locks)) found.push(...page);
  return found;
}
