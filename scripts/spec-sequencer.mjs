import TestSequencer from '@jest/test-sequencer';

/**
 * The specs that take longest, the longest first, whether they belong to `npm test` or to
 * `npm run test:faults`.
 */
const LONGEST = [
  'stores/sql/conformance',
  'stores/clients/prisma',
  'stores/typeorm/races',
  'torture/smoke',
  'stores/mongodb/conformance',
  'processes/processes',
  'stores/mongodb/races',
  'stores/clients/conformance-of-orms',
  'stores/typeorm/conformance',
  'stores/mongodb/failover',
  'stores/mongodb/failures',
  'cli/commands',
  'stores/typeorm/safe-updates',
  'stores/typeorm/transactions-connections',
  'stores/typeorm/transactions',
  'simulation/simulation',
  'simulation/planted',
  'stores/typeorm-session/conformance',
  'stores/typeorm/locked-rows',
  'ticks/ticks',
].map((name) => `/test/${name}.spec.ts`);

/**
 * Runs the longest specs first. On a fresh clone, jest would begin with the largest files, and
 * a long spec in a small file would run alone at the end.
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
