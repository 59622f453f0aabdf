import { expect, it } from '@jest/globals';
import type { Lease } from '../../lib/engine/lease.js';
import { LeasesByTime } from '../../lib/engine/leases-by-time.js';
import { SeededRandom } from '../simulation/seeded-random.js';

/** The members of a lease that LeasesByTime uses. */
interface FakeLease {
  wakeAt: number;
  place: number;
  order: number;
}

it.each([1, 2, 3, 4, 5])(
  'B52 the earliest lease is always found in 3,000 random steps with seed %d',
  (seed) => {
    const random = new SeededRandom(seed, 0);
    const upTo = (limit: number): number => random.below(limit);
    const leases = new LeasesByTime();
    const known = new Set<FakeLease>();
    const pick = (): FakeLease | undefined => [...known][upTo(known.size)];

    for (let step = 0; step < 3_000; step++) {
      const lease = upTo(2) === 0 ? { wakeAt: 0, place: -1, order: 0 } : pick();
      if (!lease) continue;
      if (known.has(lease) && upTo(3) === 0) {
        leases.delete(lease as Lease);
        known.delete(lease);
      } else {
        lease.wakeAt = upTo(20) === 0 ? Infinity : upTo(100);
        leases.set(lease as Lease);
        known.add(lease);
      }
      expect(leases.size).toBe(known.size);
      expect(leases.earliest).toBe(Math.min(...[...known].map(({ wakeAt }) => wakeAt)));
      expect(leases.has(lease as Lease)).toBe(known.has(lease));
    }

    const inOrder = [...known].toSorted((a, b) =>
      a.wakeAt === b.wakeAt ? a.order - b.order : a.wakeAt - b.wakeAt,
    );
    expect(inOrder.map(() => leases.take(Infinity))).toEqual(inOrder);
    expect(leases.take(Infinity)).toBeUndefined();
  },
);
