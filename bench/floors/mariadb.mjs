import mysql from 'mysql2/promise';

/**
 * The floor of MariaDB: two durable upserts of one row, as prepared statements on one
 * connection of mysql2.
 */
export async function openFloor(url) {
  const connection = await mysql.createConnection(url);
  await connection.query(`CREATE TABLE IF NOT EXISTS floor (
    \`key\` varbinary(255) PRIMARY KEY, owner varbinary(64), token bigint, expires_ms bigint) ENGINE = InnoDB`);
  const upsert = `INSERT INTO floor (\`key\`, owner, token, expires_ms) VALUES (?, ?, ?, ?)
    ON DUPLICATE KEY UPDATE owner = VALUES(owner), token = VALUES(token), expires_ms = VALUES(expires_ms)`;
  const select = 'SELECT owner, token, expires_ms FROM floor WHERE `key` = ?';
  let token = 0;
  return {
    async pair(key) {
      await connection.execute(upsert, [key, 'floor', ++token, Date.now() + 30_000]);
      await connection.execute(upsert, [key, null, token, 0]);
    },
    select: (key) => connection.execute(select, [key]),
    close: () => connection.end(),
  };
}
