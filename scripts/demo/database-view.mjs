import Database from 'better-sqlite3';

const NOW = `CAST(round(unixepoch('subsec') * 1000) AS INTEGER)`;

/**
 * Reads the committed data of the instances. The file is opened read-only, and in WAL mode a
 * reader does not delay writers.
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

  /** All rows of the run log, in the order of their fencing tokens. */
  get runs() {
    return this.#db.prepare('SELECT * FROM run ORDER BY token').all();
  }

  /** How many times the report has been published. */
  get edition() {
    return this.#db.prepare('SELECT edition FROM report').pluck().get();
  }
}
