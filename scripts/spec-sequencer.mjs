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

/**
 * On a fresh clone, jest by itself begins with the largest files. A long spec in a small file
 * would then run alone at the end.
 */
export default class LongestFirst extends TestSequencer {
  sort(tests) {
    return super.sort(tests).toSorted((a, b) => place(a) - place(b));
  }
}

function place({ path }) {
  const found = LONGEST.findIndex((name) => path.endsWith(name));
  return found < 0 ? LONGEST.length : found;
}
