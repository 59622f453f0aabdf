import { ChildProcess } from '../child-process.mjs';
import { atMost, judged } from '../goals.mjs';
import { quantile } from '../statistics.mjs';

const VARIANTS = [
  { variant: 'locking disabled', enabled: false, calls: 200_000, goal: atMost(50) },
  { variant: 'enabled, a store that does nothing', enabled: true, calls: 20_000, goal: atMost(10_000) },
];
const BLOCKS = { quick: 11, full: 31 };

/** Measures how much longer a call of a method takes under @Locked(). */
export default {
  id: 'P15',
  title: '@Locked() method − plain method',
  stores: ['none'],

  async measure({ store, quick }) {
    const results = [];
    for (const { variant, enabled, calls, goal } of VARIANTS) {
      const child = await ChildProcess.start(new URL('../wrapper/process.mjs', import.meta.url), { enabled });
      try {
        const size = {
          calls: quick ? calls / 4 : calls,
          warmUps: calls / 2,
          blocks: quick ? BLOCKS.quick : BLOCKS.full,
        };
        const { plain, locked, differences } = await child.ask('measure', size);
        const [low, middle, high] = [0.1, 0.5, 0.9].map((share) => quantile(differences, share));
        results.push(
          judged({
            store,
            measured: middle,
            unit: 'ns',
            goal,
            inconclusive: goal.isReached(low) !== goal.isReached(high),
            details: { variant, 'p10–p90 of the blocks, ns': [low, high], 'ns of a call': { plain, locked } },
          }),
        );
      } finally {
        await child.close();
      }
    }
    return results;
  },
};
