import { DEFAULTS } from './defaults.js';

/**
 * How long before its end a lease counts as lost: 5 % of its ttl, at least 50 ms, at most a
 * third of the ttl.
 */
export function marginOf(ttl: number): number {
  return ttl === Infinity ? 0 : Math.min(Math.max(ttl * 0.05, 50), ttl / 3);
}

/**
 * The longest interval between renewals: two thirds of the ttl, or less for a short ttl. A
 * renewal has to be answered before the margin at the end of the lease begins.
 */
export function longestInterval(ttl: number): number {
  return Math.min((ttl * 2) / 3, ttl - 2 * marginOf(ttl));
}

/**
 * Milliseconds between renewals of a lease with this ttl; `Infinity` if the lease is never
 * renewed.
 */
export function renewalInterval(renewEvery: number | undefined | false, ttl: number): number {
  if (renewEvery === false) return Infinity;
  if (renewEvery !== undefined && renewEvery <= longestInterval(ttl)) return renewEvery;
  return ttl === Infinity ? DEFAULTS.endlessRenewEvery : ttl / 3;
}

/**
 * The ttl in the form that stores take: instead of `Infinity` it is `Number.MAX_SAFE_INTEGER`.
 */
export function storeTtl(ttl: number): number {
  return Math.min(ttl, Number.MAX_SAFE_INTEGER);
}
