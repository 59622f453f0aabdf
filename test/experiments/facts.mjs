/** What an experiment found: facts in rows, and a column for each thing that it was tried on. */
export class Facts {
  #columns = [];
  /** Per fact, per column: `{ found, expected }`. */
  #rows = new Map();

  /** Notes facts of one column: `note(fact, found, expected)`. Without an expectation it is a figure, for information. */
  column(name) {
    this.#columns.push(name);
    return (fact, found, expected = found) => {
      if (!this.#rows.has(fact)) this.#rows.set(fact, new Map());
      this.#rows.get(fact).set(name, { found, expected });
    };
  }

  /** As Markdown. */
  print() {
    const line = (cells) => console.log(`| ${cells.join(' | ')} |`);
    line(['what was seen', ...this.#columns]);
    line(['---', ...this.#columns.map(() => '---')]);
    for (const [fact, cells] of this.#rows)
      line([fact, ...this.#columns.map((name) => (cells.has(name) ? show(cells.get(name)) : ''))]);
  }

  /** How many were not as expected. */
  get surprises() {
    const cells = [...this.#rows.values()].flatMap((row) => [...row.values()]);
    return cells.filter(({ found, expected }) => found !== expected).length;
  }

  /** The exit code. */
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
