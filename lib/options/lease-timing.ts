import { DEFAULTS } from './defaults.js';

/**
 * How long before its end a lease counts as lost: 5 % of its ttl, at least 50 ms, at most a
 * third of the ttl.
 */
export function marginOf(ttl: number): number {
  return ttl === Infinity ? 0 : Math.min(Math.max(ttl * 0.05, 50), ttl / 3);
}

/**
 * The longest interval between renewals: two thirds of the ttl. A short ttl allows less, since
 * a renewal has to be answered before the margin begins.
 */
export function longestInterval(ttl: number): number {
  return Math.min((ttl * 2) / 3, ttl - 2 * marginOf(ttl));
}

/** The interval at which a lease of this ttl is renewed; `Infinity` for never. */
export function renewalInterval(renewEvery: number | undefined | false, ttl: number): number {
  if (renewEvery === false) return Infinity;
  if (renewEvery !== undefined && renewEvery <= longestInterval(ttl)) return renewEvery;
  return ttl === Infinity ? DEFAULTS.endlessRenewEvery : ttl / 3;
}

/** The ttl as stores take it: `Number.MAX_SAFE_INTEGER` never expires. */
export function storeTtl(ttl: number): number {
  return Math.min(ttl, Number.MAX_SAFE_INTEGER);
}
