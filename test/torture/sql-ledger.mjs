const LEDGER = 'torture_ledger';
const LOG = 'torture_log';

/**
 * The data that the locks protect: rows with a value, which each write increments from the
 * value that it has read. A trigger logs the writes in the order in which they were carried
 * out, so a lost answer hides no write.
 */
export class SqlLedger {
  #dataSource;
  /**
   * Whether the pool may have connections in open transactions, so that each has to be cleaned
   * before use.
   */
  #mustClean = false;

  constructor(dataSource) {
    this.#dataSource = dataSource;
  }

  async create(ids) {
    for (const statement of ddl(this.#dataSource.options.type)) await this.#run(statement);
    for (const id of ids)
      await this.#run(`INSERT INTO ${LEDGER} (id, value, fence, write_id, kind) VALUES (?, 0, 0, '', '')`, [
        id,
      ]);
  }

  async read(key, kind) {
    const { records } = await this.#run(`SELECT value FROM ${LEDGER} WHERE id = ?`, [`${key}/${kind}`]);
    return Number(records[0].value);
  }

  /**
   * Writes to the ledger without a fence, where only the lock keeps an older value from
   * overwriting a newer value.
   */
  async write({ id, key, token, value }) {
    return this.#update(`fence = ?, value = ?, write_id = ?, kind = 'plain' WHERE id = ?`, [
      token,
      value,
      id,
      `${key}/plain`,
    ]);
  }

  /** Stores the token in the fenced ledger, which then refuses writes with an older token. */
  async claim({ id, key, token }) {
    return this.#update(`fence = ?, write_id = ?, kind = 'claim' WHERE id = ? AND fence <= ?`, [
      token,
      id,
      `${key}/fenced`,
      token,
    ]);
  }

  async writeFenced({ id, key, token, value }) {
    const row = [`${key}/fenced`, token];
    return this.#update(`fence = ?, value = ?, write_id = ?, kind = 'fenced' WHERE id = ? AND fence <= ?`, [
      token,
      value,
      id,
      ...row,
    ]);
  }

  /** Resolves to all writes in the order in which they were carried out. */
  async log() {
    const { records } = await this.#run(
      `SELECT ledger, write_id AS id, kind, token, value FROM ${LOG} ORDER BY seq`,
    );
    return records.map((row) => ({ ...row, token: Number(row.token), value: Number(row.value) }));
  }

  /**
   * Leaves some connections of the pool in open transactions, like an application that forgets
   * to end its transactions. Resolves to the number of these connections.
   */
  async leaveDirty() {
    this.#mustClean = true;
    const runners = [this.#dataSource.createQueryRunner(), this.#dataSource.createQueryRunner()];
    const kinds = DIRT[this.#dataSource.options.type] ?? DIRT.mysql;
    await Promise.all(
      runners.map(async (runner, i) => {
        try {
          // The error is ignored, since one of the statements has to fail to leave a broken
          // transaction.
          for (const sql of kinds[i]) await runner.query(sql).catch(() => {});
        } finally {
          await runner.release();
        }
      }),
    );
    return runners.length;
  }

  async #update(change, values) {
    const { affected } = await this.#run(`UPDATE ${LEDGER} SET ${change}`, values);
    return affected === 1;
  }

  async #clean(runner) {
    await runner.query('ROLLBACK');
    if (this.#dataSource.options.type !== 'postgres') await runner.query('SET autocommit = 1');
  }

  async #run(sql, values = []) {
    const runner = this.#dataSource.createQueryRunner();
    let n = 0;
    const text = this.#dataSource.options.type === 'postgres' ? sql.replaceAll('?', () => `$${++n}`) : sql;
    try {
      if (this.#mustClean) await this.#clean(runner);
      return await runner.query(text, values, true);
    } finally {
      await runner.release();
    }
  }
}

const DIRT = {
  postgres: [['START TRANSACTION'], ['START TRANSACTION', 'SELECT 1/0']],
  mysql: [['START TRANSACTION'], ['SET autocommit = 0']],
};

function ddl(type) {
  const [serial, engine] = {
    postgres: ['bigserial PRIMARY KEY', ''],
    'better-sqlite3': ['integer PRIMARY KEY AUTOINCREMENT', ''],
  }[type] ?? ['bigint PRIMARY KEY AUTO_INCREMENT', 'ENGINE = InnoDB'];
  const columns = 'value bigint NOT NULL, write_id varchar(60) NOT NULL, kind varchar(10) NOT NULL';
  const insert = `INSERT INTO ${LOG} (ledger, token, value, write_id, kind) VALUES (NEW.id, NEW.fence, NEW.value, NEW.write_id, NEW.kind)`;
  return [
    `CREATE TABLE ${LEDGER} (id varchar(40) PRIMARY KEY, fence bigint NOT NULL, ${columns}) ${engine}`,
    `CREATE TABLE ${LOG} (seq ${serial}, ledger varchar(40) NOT NULL, token bigint NOT NULL, ${columns}) ${engine}`,
    ...(TRIGGERS[type] ?? TRIGGERS.mysql)(insert),
  ];
}

const TRIGGERS = {
  postgres: (insert) => [
    `CREATE FUNCTION log_torture() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${insert}; RETURN NULL; END $$`,
    `CREATE TRIGGER logged AFTER UPDATE ON ${LEDGER} FOR EACH ROW EXECUTE FUNCTION log_torture()`,
  ],
  mysql: (insert) => [`CREATE TRIGGER logged AFTER UPDATE ON ${LEDGER} FOR EACH ROW ${insert}`],
  'better-sqlite3': (insert) => [`CREATE TRIGGER logged AFTER UPDATE ON ${LEDGER} BEGIN ${insert}; END`],
};
