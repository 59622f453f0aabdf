import type { Pool, PoolClient } from 'pg';
import type { LockService } from '../../../lib/index.js';

interface PrismaClient {
  $connect(): Promise<void>;
  $queryRawUnsafe<T>(sql: string, ...values: unknown[]): Promise<T>;
}
type TransactionClient = Omit<PrismaClient, '$connect'>;

export async function pg(locks: LockService<PoolClient>, pool: Pool): Promise<void> {
  await locks.run('settle', (lock) => lock.guard(pool));
}

export async function prisma(locks: LockService<TransactionClient>, client: PrismaClient): Promise<void> {
  await locks.run('settle', (lock) => lock.guard(client));
}
