import { expect, it } from '@jest/globals';
import { Lease, sentNow } from '../../lib/engine/lease.js';
import { ManualClock } from './manual-clock.js';
import { marginOf } from '../../lib/options/lease-timing.js';

it('B49 a lease counts with the shortest ttl under way, even if another answer is reported twice', () => {
  const clock = new ManualClock();
  const terms = { key: 'key', storeKey: 'key', ttl: 30_000, renewEvery: undefined };
  const sent = sentNow(clock);
  const lease = new Lease(terms, { owner: 'owner', fencingToken: 1, ...sent }, clock);

  lease.sending(5_000); // The request to set the ttl to 5 s is never answered.
  const answered = lease.sending(30_000);
  answered('renewed');
  answered('unknown');
  lease.sending(30_000)('renewed');
  expect(lease.deadline).toBe(clock.now() + 5_000 - marginOf(5_000));
});
