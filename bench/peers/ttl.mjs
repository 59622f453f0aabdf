/** The ttl in milliseconds for locks of libraries that have no default ttl. */
export const TTL = 30_000;
