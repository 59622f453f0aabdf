import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TypeOrmLockStore } from 'nestjs-locked/typeorm';
import { DataSource } from 'typeorm';
import { SqlLedger } from '../sql-ledger.mjs';

/** Opens SQLite for torture: a file, with no server and no link that could fail. */
export async function openSqlite() {
  const folder = await mkdtemp(join(tmpdir(), 'nestjs-locked-torture-'));
  const options = {
    type: 'better-sqlite3',
    database: join(folder, 'torture.sqlite'),
    enableWAL: true,
    timeout: 2_000,
  };
  const admin = await new DataSource(options).initialize();
  const locks = new TypeOrmLockStore(admin);
  await locks.prepare();
  const [{ version }] = await admin.query('SELECT sqlite_version() AS version');
  return {
    name: 'sqlite',
    version,
    ledger: new SqlLedger(admin),
    locks,
    workerSettings: () => ({ database: 'sqlite', options }),
    async close() {
      await locks.close();
      await admin.destroy();
      await rm(folder, { recursive: true });
    },
  };
}
