import { Client } from 'pg';

/**
 * The floor of PostgreSQL: two durable upserts of one row, as named statements on one
 * connection of pg.
 */
export async function openFloor(url) {
  const client = new Client({ connectionString: url });
  await client.connect();
  await client.query(`CREATE TABLE IF NOT EXISTS floor (
    key varchar(255) COLLATE "C" PRIMARY KEY, owner varchar(64), token bigint, expires_ms bigint) WITH (fillfactor = 50)`);
  const upsert = {
    name: 'floor-upsert',
    text: `INSERT INTO floor (key, owner, token, expires_ms) VALUES ($1, $2, $3, $4)
           ON CONFLICT (key) DO UPDATE SET owner = EXCLUDED.owner, token = EXCLUDED.token, expires_ms = EXCLUDED.expires_ms`,
  };
  const select = { name: 'floor-select', text: 'SELECT owner, token, expires_ms FROM floor WHERE key = $1' };
  let token = 0;
  return {
    async pair(key) {
      await client.query({ ...upsert, values: [key, 'floor', ++token, Date.now() + 30_000] });
      await client.query({ ...upsert, values: [key, null, token, 0] });
    },
    select: (key) => client.query({ ...select, values: [key] }),
    close: () => client.end(),
  };
}
