/**
 * What the variants differ in. `default`: the delays and pools that a library comes with. `tuned`: as often as still makes it faster when a lock is held
 * for 5 ms and the pool is as large as ours; it never gives up.
 */
export const SHORTEST_DELAY = 10;

/** Milliseconds, where a library has no default. */
export const TTL = 30_000;
