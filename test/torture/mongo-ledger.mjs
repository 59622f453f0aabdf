const durable = { writeConcern: { w: 'majority', journal: true } };
const fromPrimary = { readConcern: { level: 'majority' } };

/**
 * The data that the locks protect: documents with a value, which each write increments from
 * the value that it has read. Each document lists its writes in the order in which they were
 * carried out, so a lost answer hides no write.
 */
export class MongoLedger {
  #ledgers;

  constructor(db) {
    this.#ledgers = db.collection('ledgers');
  }

  async create(ids) {
    await this.#ledgers.insertMany(
      ids.map((_id) => ({ _id, value: 0, fence: 0, entries: [] })),
      durable,
    );
  }

  async read(key, kind) {
    const ledger = await this.#ledgers.findOne(
      { _id: `${key}/${kind}` },
      { projection: { value: 1 }, ...fromPrimary },
    );
    return ledger.value;
  }

  /**
   * Writes to the ledger without a fence, where only the lock keeps an older value from
   * overwriting a newer value.
   */
  async write({ id, key, token, value }) {
    return this.#update(
      { _id: `${key}/plain` },
      { fence: token, value },
      { id, kind: 'plain', token, value },
    );
  }

  /** Stores the token in the fenced ledger, which then refuses writes with an older token. */
  async claim({ id, key, token }) {
    const unlessNewer = { _id: `${key}/fenced`, fence: { $lte: token } };
    return this.#update(unlessNewer, { fence: token }, { id, kind: 'claim', token });
  }

  async writeFenced({ id, key, token, value }) {
    const unlessNewer = { _id: `${key}/fenced`, fence: { $lte: token } };
    return this.#update(unlessNewer, { fence: token, value }, { id, kind: 'fenced', token, value });
  }

  /**
   * Resolves to all writes in the order in which they were carried out. A claim does not
   * change the value.
   */
  async log() {
    const ledgers = await this.#ledgers.find({}, fromPrimary).toArray();
    return ledgers.flatMap(({ _id, entries }) => {
      let value = 0;
      return entries.map((entry) => ({ ledger: _id, ...entry, value: (value = entry.value ?? value) }));
    });
  }

  async #update(filter, $set, entry) {
    const { matchedCount } = await this.#ledgers.updateOne(
      filter,
      { $set, $push: { entries: entry } },
      durable,
    );
    return matchedCount === 1;
  }
}
