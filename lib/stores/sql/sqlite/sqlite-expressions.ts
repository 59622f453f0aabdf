// 'now' stands still within a statement, and SQLite never waits inside of a statement: both
// are the clock at the write.
export const MS = `(CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER))`;
export const US = `(${MS} * 1000)`; // SQLite's clock has no microseconds
