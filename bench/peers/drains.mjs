import { CONNECTIONS } from '../contention/contend.mjs';
import { atLeast, judged, NONE } from '../goals.mjs';
import { comparisonOf, median } from '../statistics.mjs';
import { eachVariant } from './each-variant.mjs';
import { startPeer } from './start-peer.mjs';

const ROUNDS = { full: 5, quick: 1 };
/**
 * The rounds of a peer end after so many milliseconds, since more rounds would change its
 * result little.
 */
const ENOUGH = 10_000;

/**
 * Measures by which factor each peer takes longer than this library until all waiters have
 * held the lock.
 */
export function againstPeers({ work, drainOurs, ...context }) {
  const count = context.quick ? ROUNDS.quick : ROUNDS.full;
  return eachVariant(context, async ({ peer, variant, name, label, where }) => {
    const child = await startPeer({ peer, variant, connections: CONNECTIONS, ...where });
    try {
      const rounds = await inTurns(child, { count, work, drainOurs });
      return resultOf({ peer, variant, name, label, rounds, store: context.store, work });
    } finally {
      await child.close();
    }
  });
}

async function inTurns(child, { count, work, drainOurs }) {
  // This first round opens the connections of the peer.
  await child.ask('drain', { waiters: CONNECTIONS, hold: 0 });
  const rounds = [];
  for (let spent = 0; rounds.length < count && spent < ENOUGH; spent += rounds.at(-1).took)
    rounds.push({ ...(await child.ask('drain', work)), ours: await drainOurs() });
  return rounds;
}

function resultOf({ peer, variant, name, label, rounds, store, work }) {
  const theirs = median(rounds.map(({ took }) => took));
  const ours = median(rounds.map((round) => round.ours));
  const { ratio, low, high } = comparisonOf(
    theirs / ours,
    rounds.map((round) => round.took / round.ours),
  );
  const goal = goalOf(peer, variant);
  // The times of polling peers differ by more than a tenth. The result is inconclusive only if
  // the goal is reached at one end of their range and missed at the other.
  const inconclusive = goal !== NONE && goal.isReached(low) !== goal.isReached(high);
  const gaveUp = rounds.reduce((sum, round) => sum + round.gaveUp, 0);
  const details = {
    variant,
    peer: peer.name,
    ...(peer.version && { version: peer.version }),
    ...(label && { redis: label }),
    lease: peer.lease,
    waiting: peer.waiting,
    'p10–p90 of the rounds': [low, high],
    'drained by it, ms': theirs,
    'drained by us, ms': ours,
    'gave up': `${gaveUp} of ${rounds.length * work.waiters}`,
    ...(gaveUp > 0 && { 'and said': rounds.find(({ reason }) => reason).reason }),
  };
  return {
    title: `drained by ${name} ÷ by us`,
    ...judged({ store, measured: ratio, unit: '× ours', goal, inconclusive, details }),
  };
}

/**
 * Returns the goal for a peer. Peers on Redis and peers that wait on the server have none. If
 * a peer leaves waiting to the caller, its variant `default` has none either, since there is
 * no default delay to compare with.
 */
function goalOf({ kind, waiting }, variant) {
  if (kind !== 'sql' || waiting === 'on the server') return NONE;
  if (variant === 'tuned') return atLeast(1.5);
  return waiting === 'polls' ? atLeast(8) : NONE;
}
