/** The ttl of the leases that the instances take and release all the time, in milliseconds. */
export const TTL = 2_000;

/**
 * Milliseconds. After the address has moved, keys must be granted again within the ttl plus
 * this time.
 */
export const SLACK = 5_000;

/** The keys that the instances compete for. */
export const KEYS = ['invoices', 'newsletter', 'report'];
