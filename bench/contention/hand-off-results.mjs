import { judged, NONE } from '../goals.mjs';
import { contend } from './contend.mjs';

/**
 * Measures hand-offs with this number of processes and waiters. Returns a row for the time of
 * a hand-off, one for its statements, and, with several processes, one for their shares.
 */
export async function handOffResults(context, { processes, waiters, title, goals = {} }) {
  const { store, counts } = context;
  const attempts = goals.handOff ? counts.attempts : 1;
  const { ratios, statements, shares, details } = await contend({ ...context, processes, waiters, attempts });
  const { ratio, low, high, inconclusive } = ratios.handOff;
  const rows = [
    judged({
      store,
      measured: ratio,
      unit: '× floor',
      goal: goals.handOff ?? NONE,
      inconclusive,
      details: { 'p10–p90 of the blocks': [low, high], ...details },
    }),
    {
      title: `statements per hand-off, ${title}`,
      ...judged({ store, measured: statements, unit: 'statements', goal: goals.statements ?? NONE }),
    },
  ];
  if (processes > 1)
    rows.push({
      title: `smallest ÷ largest share of a process, ${title}`,
      ...judged({ store, measured: shares.smallestToLargest, unit: '', goal: goals.share ?? NONE }),
    });
  return rows;
}
