import { DATABASES } from './kept-results.mjs';

const OURS = 'nestjs-locked';

/**
 * Returns the data of the charts. Each database has a panel for acquiring and releasing a free
 * key, and another for a drained hot key. Each panel shows this library beside its peers;
 * panels without a peer are left out.
 *
 * @returns `[{ title, unit, bars: [{ label, value, ours }] }]`
 */
export function panelsOf(results) {
  const stores = [...new Set(results.map(({ store }) => store))];
  return stores
    .flatMap((store) => {
      const here = results.filter((result) => result.store === store && !result.details?.redis);
      return [pairPanel(store, here), hotKeyPanel(store, here)];
    })
    .filter(({ bars }) => bars.some(({ ours }) => !ours));
}

/**
 * The panel of P1: acquiring and releasing a free key, as a multiple of two durable writes.
 */
function pairPanel(store, results) {
  const bars = results
    .filter(({ id, measured }) => id === 'P1' && measured !== undefined)
    .map(({ measured, details }) => ({
      label: labelOf(details),
      value: measured,
      ours: !details.peer,
    }));
  return {
    title: `An uncontended pair on ${DATABASES[store]}`,
    unit: '× two durable writes',
    bars: sorted(bars),
  };
}

/** The panel of P8: the time until all waiters have held a hot key. */
function hotKeyPanel(store, results) {
  const drained = results.filter(({ id }) => id === 'P8');
  const bars = drained.flatMap(({ details }) => {
    if (details.peer === undefined)
      return 'drained, ms' in details ? [{ label: OURS, value: details['drained, ms'], ours: true }] : [];
    return [{ label: labelOf(details), value: details['drained by it, ms'], ours: false }];
  });
  return {
    title: `100 waiters for one key on ${DATABASES[store]}`,
    unit: 'ms until all are through',
    bars: sorted(bars),
  };
}

function labelOf({ peer = OURS, variant, lease = true }) {
  return [peer, variant, !lease && 'no lease'].filter(Boolean).join(', ');
}

const sorted = (bars) => bars.toSorted((a, b) => a.value - b.value);
