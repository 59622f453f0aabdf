import Database from 'better-sqlite3';

const NOW = `CAST(round(unixepoch('subsec') * 1000) AS INTEGER)`;

/**
 * The committed data of the instances. It is opened read-only, and in WAL mode readers hold up
 * no writer.
 */
export class DatabaseView {
  #db;

  constructor(file) {
    this.#db = new Database(file, { readonly: true });
  }

  /** The holder of the report's lock, its token, and the rest of its lease in milliseconds. */
  get lock() {
    return this.#db
      .prepare(
        `SELECT label AS holder, token, expires_ms - ${NOW} AS remaining FROM locks WHERE key = 'ReportJob.publish' AND expires_ms > ${NOW}`,
      )
      .get();
  }

  /** The run log, in the order of the tokens. */
  get runs() {
    return this.#db.prepare('SELECT * FROM run ORDER BY token').all();
  }

  /** How often the report was published. */
  get edition() {
    return this.#db.prepare('SELECT edition FROM report').pluck().get();
  }
}
