import { readFileSync } from 'node:fs';
import { describe } from '@jest/globals';
import { targetsAmong } from '../stores/typeorm/fixture.js';
import { keepsPriceLists } from './price-lists.js';

const sample = 'sample/05-prisma-postgres';

for (const { open } of targetsAmong('postgres'))
  describe(sample, () =>
    keepsPriceLists(sample, {
      open,
      // Runs the SQL of the migration without Prisma, because the engine of `prisma migrate
      // deploy` cannot be downloaded everywhere.
      migrate: async (db) => {
        await db.query(readFileSync(`${sample}/prisma/migrations/20261128000000_init/migration.sql`, 'utf8'));
      },
    }),
  );
