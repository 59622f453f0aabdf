import { relative } from 'node:path';
import { BUDGET } from './test-runs.mjs';

const STORES = ['memory', 'sqlite', 'postgres', 'mariadb', 'mysql', 'mysql56', 'mongodb'];
const SLOWEST = 20;

/**
 * A reporter of jest that prints a line for each spec when it ends, and at the end how the
 * time was spent.
 */
export default class SpecReporter {
  #total = 0;
  /** @type {{ name: string, seconds: number, tests: number }[]} */
  #specs = [];
  /** For each store, how many tests name it in their titles, and how long they took. */
  #stores = new Map(STORES.map((name) => [name, { tests: 0, seconds: 0 }]));

  onRunStart({ numTotalTestSuites }) {
    this.#total = numTotalTestSuites;
  }

  onTestFileResult({ path }, result) {
    const { perfStats, testResults, failureMessage } = result;
    const name = relative(process.cwd(), path);
    const seconds = (perfStats.end - perfStats.start) / 1_000;
    this.#specs.push({ name, seconds, tests: testResults.length });
    for (const test of testResults) this.#count(test);

    const width = String(this.#total).length;
    const place = `${String(this.#specs.length).padStart(width)}/${this.#total}`;
    print(`${place}  ${failureMessage ? 'FAIL' : 'pass'}${inSeconds(seconds)} s  ${name}`);
    if (failureMessage)
      print([...(result.console ?? []).map(({ message }) => message), failureMessage].join('\n'));
  }

  onRunComplete() {
    const slowest = this.#specs.toSorted((a, b) => b.seconds - a.seconds);
    const others = slowest.splice(SLOWEST);
    print('\nWhere the time went\n   seconds   tests  spec');
    for (const spec of slowest) print(row(spec.name, spec));
    if (others.length > 0) print(row(`${others.length} other specs`, sumOf(others)));
    const all = sumOf(this.#specs);
    print(row(`all ${this.#specs.length} specs, on two workers${budget()}`, all));
    print('   seconds   tests  store that the title of the test names');
    for (const [name, sum] of this.#stores) if (sum.tests > 0) print(row(name, sum));
  }

  #count({ ancestorTitles, title, duration }) {
    const words = [...ancestorTitles, title].join(' ').match(/\w+/g) ?? [];
    const store = this.#stores.get(words.find((word) => this.#stores.has(word)));
    if (!store) return;
    store.tests++;
    store.seconds += (duration ?? 0) / 1_000;
  }
}

function budget() {
  return process.env.LOCK_TEST_RUN === 'fast' ? `; the budget of npm test is ${BUDGET} s` : '';
}

function sumOf(parts) {
  const sum = (name) => parts.reduce((all, part) => all + part[name], 0);
  return { seconds: sum('seconds'), tests: sum('tests') };
}

function row(name, { seconds, tests }) {
  return `${inSeconds(seconds)}  ${String(tests).padStart(6)}  ${name}`;
}

const inSeconds = (seconds) => seconds.toFixed(1).padStart(10);

/**
 * Prints to stderr like jest's own reporters, since stdout may be the target of the report of
 * --json.
 */
function print(text) {
  process.stderr.write(`${text}\n`);
}
