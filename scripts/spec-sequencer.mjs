import TestSequencer from '@jest/test-sequencer';

/** What takes longest, the longest first. */
const LONGEST = [
  'stores/typeorm/races',
  'stores/mongodb/races',
  'torture/smoke',
  'stores/mongodb/conformance',
  'processes/processes',
  'stores/mongodb/failover',
  'cli/commands',
  'stores/typeorm/conformance',
  'stores/mongodb/failures',
  'stores/typeorm/transactions-connections',
  'stores/typeorm/purge',
  'stores/typeorm/locked-rows',
  'ticks/ticks',
  'simulation/planted',
].map((name) => `/test/${name}.spec.ts`);

/** By itself jest begins, on a fresh clone, with the largest files: a long spec that is a small file would run alone at the end. */
export default class LongestFirst extends TestSequencer {
  sort(tests) {
    return super.sort(tests).toSorted((a, b) => place(a) - place(b));
  }
}

function place({ path }) {
  const found = LONGEST.findIndex((name) => path.endsWith(name));
  return found < 0 ? LONGEST.length : found;
}
