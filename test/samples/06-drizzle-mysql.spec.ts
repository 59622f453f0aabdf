import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe } from '@jest/globals';
import { targetsAmong } from '../stores/typeorm/fixture.js';
import { keepsPriceLists } from './price-lists.js';

const sample = 'sample/06-drizzle-mysql';

for (const { open } of targetsAmong('mysql'))
  describe(sample, () =>
    keepsPriceLists(sample, {
      open,
      migrate: async (_, url) => {
        const env = { ...process.env, DATABASE_URL: url };
        await promisify(execFile)(process.execPath, ['dist/migrate.js'], { cwd: sample, env });
      },
    }),
  );
