import { judged } from '../goals.mjs';
import { eachVariant } from './each-variant.mjs';
import { startPeer } from './start-peer.mjs';

/**
 * Compares the time that each peer takes to acquire and release a free key, on one connection,
 * with two durable writes, as P1 does for this library.
 */
export function pairsOfPeers(context) {
  const { store, counts } = context;
  return eachVariant(context, async ({ peer, variant, name, label, where }) => {
    const { times, ratio } = await pairOf({ peer, variant, connections: 1, ...where }, counts);
    const details = {
      variant,
      peer: peer.name,
      ...(peer.version && { version: peer.version }),
      ...(label && { redis: label }),
      lease: peer.lease,
      'p10–p90 of the blocks': [ratio.low, ratio.high],
      inconclusive: ratio.inconclusive,
      ms: times,
    };
    return {
      title: `pair ÷ floor, ${name}`,
      ...judged({ store, measured: ratio.ratio, unit: '× floor', details }),
    };
  });
}

async function pairOf(terms, counts) {
  const child = await startPeer(terms);
  try {
    const { times, ratios } = await child.ask('pairs', counts);
    return { times, ratio: ratios.pair };
  } finally {
    await child.close();
  }
}
