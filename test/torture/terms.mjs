/** Settings of all torture runs. Times are milliseconds. */
export const WORKERS = ['w1', 'w2', 'w3', 'w4', 'w5', 'w6', 'w7', 'w8'];
export const KEYS = ['a', 'b', 'c'];
export const TTL = 800;
/**
 * The ttl of the many callers. On a busy machine, a shorter ttl would let each rush time out,
 * and its retries would keep the machine busy.
 */
export const CROWD_TTL = 6_000;
/** The longest pause between two attempts of a waiter. */
export const POLL = 200;
/** The time after which a waiter turns to another key. */
export const WAIT = 4_000;
/** The time for a take-over beyond ttl and poll: the attempt itself on a busy machine. */
export const TAKE_OVER_SLACK = 250;
/**
 * The time of the effects after a fault: connections are made again, hanging attempts reach
 * their limit.
 */
export const AFTERMATH = 1_000;

/** Milliseconds on the monotonic clock, which all processes of a machine share. */
export const now = () => Number(process.hrtime.bigint()) / 1e6;
