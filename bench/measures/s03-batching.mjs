import { atLeast, judged } from '../goals.mjs';
import { interleaveSlices, untilConclusive } from '../interleave.mjs';
import { WARM_UP, withAndWithoutBatching } from '../load/applications.mjs';

const CALLERS = 100;

/**
 * Compares the pairs of acquire and release per second of many callers with batching and
 * without, in two processes.
 */
export default {
  id: 'S3',
  title: `pairs/s of ${CALLERS} callers ÷ those with batching: false`,
  stores: ['sqlite', 'mongodb'], // S1 and S2 measure the other databases

  measure: (context) =>
    withAndWithoutBatching(context, async (applications) => {
      const { store, counts, slice, quick } = context;
      const rateOf = (application) => (milliseconds) =>
        application.ask('rate', { callers: CALLERS, slice: milliseconds });
      const { rates, ratios } = await untilConclusive(counts.attempts, () =>
        interleaveSlices(
          { with: rateOf(applications.with), without: rateOf(applications.without) },
          {
            reference: 'without',
            slice,
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
          goal: atLeast(2),
          inconclusive,
          range: [low, high],
          details: { 'per second': rates },
        }),
      ];
    }),
};
