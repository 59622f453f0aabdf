/**
 * The specs of `npm run test:faults`, as the beginnings of their paths below test/. These
 * specs break processes, connections and servers, run long races, or run whole applications
 * and every ORM. `npm test` runs all other specs.
 */
export const FAULTS = [
  'cli/drivers',
  'core/many-locks',
  'dirty-pools/',
  'docs/complete-files',
  'leaks/servers',
  'migrating/',
  'processes/',
  'resources/',
  'samples/',
  'servers/mongodb',
  'stores/clients/conformance-of-orms',
  'stores/clients/prisma.spec',
  'stores/clients/races',
  'stores/clients/transactions-around-locks',
  'stores/mongodb/conformance-of-variants',
  'stores/mongodb/failover',
  'stores/mongodb/failures',
  'stores/mongodb/races',
  'stores/mongodb/standalone',
  'stores/sql/notification-rate',
  'stores/typeorm-session/conformance-over-typeorm',
  'stores/typeorm-session/connections',
  'stores/typeorm-session/looking',
  'stores/typeorm-session/refused',
  'stores/typeorm-session/service',
  'stores/typeorm/',
  'ticks/',
  'torture/smoke',
  'transactional/',
];

/**
 * How many seconds the specs of `npm test` may take in all, on two workers of a machine that
 * does nothing else.
 */
export const BUDGET = 540;

/**
 * Returns the options with which jest runs only the specs of one run.
 *
 * @param {string | undefined} run `fast` for `npm test`, `faults` for `npm run test:faults`;
 * without it, jest runs all specs
 */
export function specsOf(run) {
  const faults = `(?:${FAULTS.join('|')})`;
  // The rest of the path must not contain `/test/`, since the clone itself may be below a
  // folder of that name.
  if (run === 'fast') return { testRegex: `/test/(?!.*/test/|${faults}).*\\.spec\\.ts$` };
  if (run === 'faults') return { testRegex: `/test/(?!.*/test/)(?=${faults}).*\\.spec\\.ts$` };
  return { testMatch: ['**/*.spec.ts'] };
}
