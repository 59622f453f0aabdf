/**
 * The findings of an experiment, as a table: each row is a fact, each column is a subject such
 * as a database.
 */
export class Facts {
  #columns = [];
  /** For each fact and column, the result as `{ found, expected }`. */
  #rows = new Map();

  /**
   * Adds a column. Returns a function that notes its facts: `note(fact, found, expected)`. A
   * fact without an expected value is only printed.
   */
  column(name) {
    this.#columns.push(name);
    return (fact, found, expected = found) => {
      if (!this.#rows.has(fact)) this.#rows.set(fact, new Map());
      this.#rows.get(fact).set(name, { found, expected });
    };
  }

  /** Prints the facts as a Markdown table. */
  print() {
    const line = (cells) => console.log(`| ${cells.join(' | ')} |`);
    line(['what was seen', ...this.#columns]);
    line(['---', ...this.#columns.map(() => '---')]);
    for (const [fact, cells] of this.#rows)
      line([fact, ...this.#columns.map((name) => (cells.has(name) ? show(cells.get(name)) : ''))]);
  }

  /** How many facts differ from what was expected. */
  get surprises() {
    const cells = [...this.#rows.values()].flatMap((row) => [...row.values()]);
    return cells.filter(({ found, expected }) => found !== expected).length;
  }

  /** Prints the facts and returns the exit code. */
  conclude() {
    this.print();
    if (this.surprises > 0) console.error(`\n${this.surprises} of these are not as expected.`);
    return this.surprises > 0 ? 1 : 0;
  }
}

function show({ found, expected }) {
  return found === expected ? word(found) : `**${word(found)}**, not ${word(expected)}`;
}

const word = (value) => (typeof value === 'boolean' ? (value ? 'yes' : 'no') : String(value));
