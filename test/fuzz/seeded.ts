import * as fc from 'fast-check';

/**
 * How a property is tried: with the same cases each time, so that a failure is one of the change that is being tested. Other cases, and more
 * of them: `FC_SEED=7 FC_TIMES=100 npm test -- test/fuzz`. What fails prints its seed and the smallest case that fails.
 */
export function seeded<T>(numRuns: number): fc.Parameters<T> {
  return {
    seed: Number(process.env.FC_SEED ?? 20261120),
    numRuns: numRuns * Number(process.env.FC_TIMES ?? 1),
  };
}
