/** What all torture has in common. Times are milliseconds. */
export const WORKERS = ['w1', 'w2', 'w3', 'w4', 'w5', 'w6', 'w7', 'w8'];
export const KEYS = ['a', 'b', 'c'];
export const TTL = 800;
/**
 * The ttl of the many callers. With a shorter one each rush would time out on a busy machine,
 * and its repetitions would keep the machine busy.
 */
export const CROWD_TTL = 6_000;
/** The longest pause between two attempts of a waiter. */
export const POLL = 200;
/** How long a waiter waits before it turns to another key. */
export const WAIT = 4_000;
/** What a take-over may cost beyond ttl and poll: the attempt itself, on a busy machine. */
export const TAKE_OVER_SLACK = 250;
/** How long the effects of a fault go on after its end: connections are made again, attempts that hang are given up. */
export const AFTERMATH = 1_000;

/** Milliseconds on the clock that never steps, and that all processes of a machine have in common. */
export const now = () => Number(process.hrtime.bigint()) / 1e6;
