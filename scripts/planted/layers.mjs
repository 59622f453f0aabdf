import { BUG_NAMES, storeOf } from '../../test/torture/planted-bugs.mjs';
import { importCompiled } from '../simulation/compiled.mjs';

const SIMULATION = 'test/simulation/simulation.ts';
/** How many seconds torture looks for a planted bug. */
const PATIENCE = 120;

/**
 * The layers that look for planted bugs. `find` resolves to the violation that it found, the
 * amount of work, and how to see the violation again. It resolves to `undefined` if it found
 * no violation.
 */
export const layers = {
  simulation: { find: simulate },
  conformance: { find: conform },
  torture: { find: tortureWith },
};

/** Reads all planted bugs, each with the layers that have to find it. */
export async function readBugs() {
  const [{ plantedBugs }] = await importCompiled('sound', ['test/simulation/planted-bugs.ts']);
  const bugs = new Map(plantedBugs.map((bug) => [bug.name, bug]));
  for (const name of BUG_NAMES)
    bugs.set(name, { ...bugs.get(name), name, foundBy: [...(bugs.get(name)?.foundBy ?? []), 'torture'] });
  return [...bugs.values()];
}

/**
 * Plays schedules until a promise of the library is broken. With `knownFirst`, it begins with
 * the schedule that is known to show the bug.
 */
async function simulate(bug, { seed, schedules, knownFirst }) {
  const play = await simulationWith(bug);
  const order = Array.from({ length: schedules }, (_, i) => i + 1);
  if (knownFirst && bug.seenInSchedule) order.unshift(bug.seenInSchedule);
  for (const [before, schedule] of order.entries()) {
    const { violation } = await play(seed, schedule);
    if (violation !== undefined)
      return {
        found: violation.split('\n')[0],
        after: `${before + 1} ${before === 0 ? 'schedule' : 'schedules'}`,
        replay: `npm run planted -- --bug ${quoted(bug.name)} --seed ${seed} --schedule ${schedule}`,
      };
  }
  return undefined;
}

/** Returns a function that plays schedules in a simulation with the planted bug. */
export async function simulationWith(bug) {
  const copy = bug.edits ? bug.name.replaceAll(/\W+/g, '-') : 'sound';
  const [{ playSchedule }] = await importCompiled(copy, [SIMULATION], bug.edits);
  return (seed, schedule, options) => playSchedule(seed, schedule, { ...options, store: bug.store });
}

/**
 * Runs the conformance cases of stores on a store with the planted bug. If one case is known
 * to find the bug, only that case runs.
 */
async function conform(bug) {
  const [{ lockStoreConformance }, { RightStore }, { operationsOf }] = await importCompiled('sound', [
    'lib/testing/lock-store-conformance.ts',
    'test/stores/conformance-planted-bugs.ts',
    'test/simulation/simulated-database.ts',
  ]);
  const right = new RightStore();
  const meanwhile = () => new Promise((resolve) => setTimeout(resolve, 1));
  const broken = { ...operationsOf(right), ...bug.store.plant(right, meanwhile) };
  const cases = lockStoreConformance(() => broken, { ttl: 60, rounds: 3, racers: 8, patience: 500 });
  const chosen = bug.conformanceCase ? cases.filter(({ name }) => name === bug.conformanceCase) : cases;
  let tried = 0;
  for (const { name, run } of chosen) {
    tried++;
    try {
      await run();
    } catch {
      return {
        found: name,
        after: `${tried} ${tried === 1 ? 'case' : 'cases'}`,
        replay: `npm test -- conformance-finds-bugs`,
      };
    }
  }
  return undefined;
}

/**
 * Lets processes with the planted bug compete on a real database, until two of them hold a
 * lock at the same time or a token does not grow.
 */
async function tortureWith({ name }, { seed }) {
  // Imported only here, since the other layers work without the build.
  const { torture } = await import('../../test/torture/torture.mjs');
  const store = storeOf(name);
  const { foundAfter, violations } = await torture({
    store,
    seed,
    seconds: PATIENCE,
    short: true,
    bug: name,
  });
  if (violations.length === 0) return undefined;
  return {
    found: `${violations[0].check}: ${violations[0].text}`,
    after: `${((foundAfter ?? PATIENCE * 1_000) / 1_000).toFixed(1)} s, ${store}`,
    replay: `npm run torture -- --store ${store} --planted ${quoted(name)} --seconds ${PATIENCE}`,
  };
}

function quoted(text) {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
