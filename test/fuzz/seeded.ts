import * as fc from 'fast-check';

/**
 * Parameters for fast-check. Each run tries the same cases, so a failure comes from the change
 * under test. `FC_SEED=7 FC_TIMES=100 npm test -- test/fuzz` runs other cases, and more of
 * them. A failing property prints its seed and its smallest failing case.
 */
export function seeded<T>(numRuns: number): fc.Parameters<T> {
  return {
    seed: Number(process.env.FC_SEED ?? 20261120),
    numRuns: numRuns * Number(process.env.FC_TIMES ?? 1),
  };
}
