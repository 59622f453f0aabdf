/** The findings of an experiment: facts in rows, with a column for each subject. */
export class Facts {
  #columns = [];
  /** For each fact and column: `{ found, expected }`. */
  #rows = new Map();

  /**
   * Gives a function that notes facts of one column: `note(fact, found, expected)`. Without an
   * expectation, the fact is a figure for information.
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

  /** The number of facts that are not as expected. */
  get surprises() {
    const cells = [...this.#rows.values()].flatMap((row) => [...row.values()]);
    return cells.filter(({ found, expected }) => found !== expected).length;
  }

  /** Prints the facts and gives the exit code. */
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
