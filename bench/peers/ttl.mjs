/** Milliseconds for which a lock is taken where a library has no default. */
export const TTL = 30_000;
