import { expect, it } from '@jest/globals';
import { Lease, sentNow } from '../../lib/engine/lease.js';
import { ManualClock } from './manual-clock.js';
import { marginOf } from '../../lib/options/lease-timing.js';

it('B49 an answer that is reported twice ends one request only, and the shortest ttl counts', () => {
  const clock = new ManualClock();
  const terms = { key: 'key', storeKey: 'key', ttl: 30_000, renewEvery: undefined };
  const sent = sentNow(clock);
  const lease = new Lease(terms, { owner: 'owner', fencingToken: 1, ...sent }, clock);

  lease.sending(5_000); // never answered
  const answered = lease.sending(30_000);
  answered('renewed');
  answered('unknown');
  lease.sending(30_000)('renewed');
  expect(lease.deadline).toBe(clock.now() + 5_000 - marginOf(5_000));
});
