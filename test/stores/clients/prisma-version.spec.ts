import { describe, expect, it } from '@jest/globals';
import { PrismaBetterSqlite3 } from '@prisma/adapter-better-sqlite3';
import { LockError } from '../../../lib/lock.errors.js';
import { fromPrisma } from '../../../lib/stores/sql/index.js';
import { generatedClient } from './prisma-client.js';

const { PrismaClient } = await import(await generatedClient('sqlite'));
const clientOf = (version: string): any => {
  const client = new PrismaClient({ adapter: new PrismaBetterSqlite3({ url: 'file:unused.sqlite' }) });
  client._clientVersion = version;
  return client;
};

describe('versions of Prisma', () => {
  it.each(['6.16.0', '6.19.3', '7.4.2'])(
    'B90 Prisma %s is refused, and the error names the oldest supported version',
    (version) => {
      const take = (): unknown => fromPrisma(clientOf(version));
      expect(take).toThrow(LockError);
      expect(take).toThrow(`needs Prisma 7.5 or newer, but this PrismaClient is of Prisma ${version},`);
    },
  );

  it.each(['7.5.0', '7.10.0', '8.0.0', '10.2.1'])('B90 Prisma %s is supported', (version) => {
    expect(fromPrisma(clientOf(version)).client).toBe('Prisma');
  });
});
