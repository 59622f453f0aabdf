// Runs a peer in a separate process, so that its drivers and timers do not slow down this
// library.
import { serve } from '../child-process.mjs';
import { drain } from '../contention/drain.mjs';
import { openFloor } from '../floors.mjs';
import { interleave, rateOf } from '../interleave.mjs';
import { peers } from './index.mjs';

serve(async ({ name, floor: { store, url }, ...terms }) => {
  const peer = await peers.find((each) => each.name === name).open(terms);
  const floor = await openFloor(store, url);
  const operations = { floor: () => floor.pair('peer'), pair: () => peer.pair('pair') };

  return {
    pairs: (counts) => interleave(operations, { ...counts, reference: 'floor' }),
    rate: ({ callers, slice }) => rateOf((caller) => peer.pair(`pair-${caller}`), callers, slice),
    drain: (want) => drain(peer.run, want),
    async close() {
      await floor.close();
      await peer.close();
    },
  };
});
