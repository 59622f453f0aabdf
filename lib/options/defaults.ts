/**
 * Defaults and limits of the module's and the calls' options, in milliseconds. Each store has
 * the defaults of its own options.
 */
export const DEFAULTS = {
  ttl: 30_000,
  wait: 0,
  minHold: 0,
  retry: { min: 20, max: 500 },
  shutdownTimeout: 10_000,
  endlessRenewEvery: 10_000,
  smallestTtl: 100,
  tickAhead: 300_000,
  purgeEvery: 86_400_000,
} as const;
