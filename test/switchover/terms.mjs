/** Milliseconds of the leases that are taken and released again and again. */
export const TTL = 2_000;

/** Milliseconds after which, besides the ttl, keys have to be granted again. */
export const SLACK = 5_000;

/** What the instances contend for. */
export const KEYS = ['invoices', 'newsletter', 'report'];
