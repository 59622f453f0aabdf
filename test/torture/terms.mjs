/** The settings of all torture runs. All times are milliseconds. */
export const WORKERS = ['w1', 'w2', 'w3', 'w4', 'w5', 'w6', 'w7', 'w8'];
export const KEYS = ['a', 'b', 'c'];
export const TTL = 800;
/**
 * The ttl of the callers in crowds. On a busy machine, requests with a shorter ttl would all
 * time out, and their retries would keep the machine busy.
 */
export const CROWD_TTL = 6_000;
/** The longest pause between two attempts of a waiter. */
export const POLL = 200;
/** The time after which a waiter gives up a key and tries another. */
export const WAIT = 4_000;
/**
 * The time that a take-over may need beyond ttl and poll, since the attempt itself takes time
 * on a busy machine.
 */
export const TAKE_OVER_SLACK = 250;
/**
 * The time after a fault in which it still has effects: connections are made again, and
 * hanging attempts reach their time limit.
 */
export const AFTERMATH = 1_000;

/** Returns the milliseconds of the monotonic clock, which all processes of a machine share. */
export const now = () => Number(process.hrtime.bigint()) / 1e6;
