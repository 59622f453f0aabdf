import { PAIRS } from '../../test/switchover/pairs.mjs';
import { switchOver } from '../../test/switchover/switchover.mjs';
import { SLACK, TTL } from '../../test/switchover/terms.mjs';
import { Facts } from './facts.mjs';

/**
 * Demotes a writer while eight processes use locks on it. Their connections stay open, and
 * only new connections lead to the new writer.
 */
export async function run(names) {
  const facts = new Facts();
  for (const name of names.length > 0 ? names : Object.keys(PAIRS)) {
    const pair = await PAIRS[name]();
    try {
      noteOn(facts.column(`${name} ${pair.version}`), await switchOver(pair, name));
    } finally {
      await pair.stop();
    }
  }
  return facts.conclude();
}

function noteOn(note, seen) {
  note('locks granted', seen.granted);
  note('connections to the old writer', seen.connections);
  note('... on which a statement was refused as read-only', seen.refused);
  note('... on one of them at most', seen.mostRefusedOfOne, 1);
  note('attempts, renewals and releases that failed', seen.failed.length);
  note(
    'every process was granted a key again after the move, after',
    `${(seen.regrantedAfter / 1_000).toFixed(1)} s`,
  );
  note(`... within the ttl and ${SLACK / 1_000} s`, seen.regrantedAfter < TTL + SLACK, true);
  note('waits that were rejected', seen.rejectedWaits.length, 0);
  note('locks lost that were held all the time', seen.lost.length, 0);
  note('locks of which two processes believed that they held them', seen.overlaps.length, 0);
  note('processes that had to be restarted', seen.exitCodes.filter((code) => code !== 0).length, 0);
}
