import Sqlite from 'better-sqlite3';

/**
 * The floor of SQLite: two upserts of one row, as prepared statements. Each is on the disk
 * before it returns.
 */
export async function openFloor(file) {
  const database = new Sqlite(file);
  database.pragma('journal_mode = WAL');
  database.pragma('synchronous = FULL');
  database.exec(
    'CREATE TABLE IF NOT EXISTS floor (key text PRIMARY KEY, owner text, token integer, expires_ms integer) WITHOUT ROWID',
  );
  const upsert = database.prepare(`INSERT INTO floor (key, owner, token, expires_ms) VALUES (?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET owner = excluded.owner, token = excluded.token, expires_ms = excluded.expires_ms`);
  const select = database.prepare('SELECT owner, token, expires_ms FROM floor WHERE key = ?');
  let token = 0;
  return {
    async pair(key) {
      upsert.run(key, 'floor', ++token, Date.now() + 30_000);
      upsert.run(key, null, token, 0);
    },
    select: async (key) => select.get(key),
    close: async () => database.close(),
  };
}
