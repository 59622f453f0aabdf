import { CONNECTIONS } from '../contention/contend.mjs';
import { atLeast, judged, NONE } from '../goals.mjs';
import { comparisonOf, median } from '../statistics.mjs';
import { startPeer } from './start-peer.mjs';
import { withRedis } from './with-redis.mjs';

const ROUNDS = { full: 5, quick: 1 };
/** Milliseconds after which another round would tell nothing new. */
const ENOUGH = 10_000;
/** The store beside which the peers on Redis are measured. */
const BESIDE_REDIS = 'postgres';

/** How many times as long as we each peer takes until all waiters are through, on the same server or, if it is for Redis, beside one store. */
export async function againstPeers(context) {
  const { store, servers, peers } = context;
  const rows = [];
  for (const peer of peers.filter(({ kind, stores }) => kind === 'sql' && stores.includes(store)))
    rows.push(...(await variantsOf(peer, { ...context, where: { store } })));
  if (store !== BESIDE_REDIS) return rows;

  const floor = { store, url: await servers.database(store) };
  const onRedis = await withRedis(async ({ url, label }) => {
    const found = [];
    for (const peer of peers.filter(({ kind }) => kind === 'redis'))
      found.push(...(await variantsOf(peer, { ...context, label, where: { store: 'redis', url, floor } })));
    return found;
  });
  return [...rows, ...onRedis];
}

async function variantsOf(peer, context) {
  const rows = [];
  for (const variant of peer.variants) rows.push(await resultOf(peer, variant, context));
  return rows;
}

async function resultOf(peer, variant, { store, servers, quick, progress, work, drainOurs, label, where }) {
  const name = [label, peer.name].filter(Boolean).join(': ');
  progress.tell(`${name}, ${variant}`);
  const rounds = await inTurns({
    child: await startPeer({ peer, variant, servers, connections: CONNECTIONS, ...where }),
    count: quick ? ROUNDS.quick : ROUNDS.full,
    work,
    drainOurs,
  });
  const theirs = median(rounds.map(({ took }) => took));
  const ours = median(rounds.map((round) => round.ours));
  const { ratio, low, high } = comparisonOf(
    theirs / ours,
    rounds.map((round) => round.took / round.ours),
  );
  const goal = goalOf(peer, variant);
  // Pollers differ by more than a tenth from one time to the next: it matters only where that decides.
  const inconclusive = goal !== NONE && goal.isReached(low) !== goal.isReached(high);
  const gaveUp = rounds.reduce((sum, round) => sum + round.gaveUp, 0);
  const details = {
    variant,
    peer: peer.name,
    ...(label && { server: label }),
    lease: peer.lease,
    waiting: peer.waiting,
    'p10–p90 of the rounds': [low, high],
    'drained by it, ms': theirs,
    'drained by us, ms': ours,
    'gave up': `${gaveUp} of ${rounds.length * work.waiters}`,
    ...(gaveUp > 0 && { 'and said': rounds.find(({ reason }) => reason).reason }),
  };
  return {
    ...judged({ store, measured: ratio, unit: '× ours', goal, inconclusive, details }),
    title: `drained by ${name} ÷ by us`,
  };
}

/** Only polling peers on SQL are held against a goal; and what is left to the caller has no default. */
function goalOf({ kind, waiting }, variant) {
  if (kind !== 'sql' || waiting === 'on the server') return NONE;
  if (variant === 'tuned') return atLeast(1.5);
  return waiting === 'polls' ? atLeast(8) : NONE;
}

async function inTurns({ child, count, work, drainOurs }) {
  try {
    await child.ask('drain', { waiters: CONNECTIONS, hold: 0 }); // its connections are opened
    const rounds = [];
    for (let spent = 0; rounds.length < count && spent < ENOUGH; spent += rounds.at(-1).took)
      rounds.push({ ...(await child.ask('drain', work)), ours: await drainOurs() });
    return rounds;
  } finally {
    await child.close();
  }
}
