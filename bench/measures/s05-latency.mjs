import { atMost, judged } from '../goals.mjs';
import { interleaveSlices, untilConclusive } from '../interleave.mjs';
import { WARM_UP, withAndWithoutBatching } from '../load/applications.mjs';

const CALLERS = 100;

/**
 * Compares the 99th percentile of the time of a lock under many callers with batching and
 * without.
 */
export default {
  id: 'S5',
  title: `p99 of a pair of ${CALLERS} callers ÷ with batching: false`,
  stores: ['postgres', 'mariadb', 'mysql', 'sqlite', 'mongodb'],

  measure: (context) =>
    withAndWithoutBatching(context, async (applications) => {
      const { store, counts, slice, quick } = context;
      const p99Of = (application) => (milliseconds) =>
        application.ask('p99', { callers: CALLERS, slice: milliseconds });
      const { rates, ratios } = await untilConclusive(counts.attempts, () =>
        interleaveSlices(
          { with: p99Of(applications.with), without: p99Of(applications.without) },
          {
            reference: 'without',
            slice: 2 * slice, // long enough for some thousand pairs in each slice
            blocks: counts.blocks,
            warmUpSlice: quick ? WARM_UP.quick : WARM_UP.full,
          },
        ),
      );
      const { ratio, low, high, inconclusive } = ratios.with;
      return [
        judged({
          store,
          measured: ratio,
          unit: '×',
          goal: atMost(0.3),
          inconclusive,
          range: [low, high],
          details: { 'p99, ms': rates },
        }),
      ];
    }),
};
