import type { LockService } from '../../../lib/index.js';

export async function settle(locks: LockService<never>, transaction: object): Promise<void> {
  await locks.run('settle', async (lock) => {
    await lock.transaction(async () => {});
    await lock.guard(transaction);
  });
}
