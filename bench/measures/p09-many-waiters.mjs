import { contend } from '../contention/contend.mjs';
import { atMost, judged } from '../goals.mjs';

const PROCESSES = 2;

/** Measures whether the load on the database grows with the number of waiters. */
export default {
  id: 'P9',
  title: 'statements per hand-off, 1,000 waiters ÷ 10 waiters, in 2 processes',
  stores: ['postgres', 'mariadb', 'sqlite', 'mongodb'],

  async measure(context) {
    const shape = { processes: PROCESSES, length: 0.3 };
    const few = await contend({ ...context, ...shape, waiters: 10 / PROCESSES });
    const many = await contend({ ...context, ...shape, waiters: 1_000 / PROCESSES });
    return [
      judged({
        store: context.store,
        measured: many.statements / few.statements,
        unit: '×',
        goal: atMost(1.2),
        details: {
          'statements per hand-off': { 10: few.statements, 1_000: many.statements },
          'hand-off ÷ floor': { 10: few.ratios.handOff.ratio, 1_000: many.ratios.handOff.ratio },
          '1,000 waiters': many.details,
        },
      }),
    ];
  },
};
