import type { SeededRandom } from './seeded-random.js';

/** The faults that can happen to a request on its way. */
export const LINK_FAULTS = [
  'delay',
  'request lost',
  'answer lost',
  'request unanswered',
  'answer unanswered',
  'carried out late',
  'delivered twice',
  'refused',
  'unknown error',
  'contention',
] as const;

/** The faults that can happen to a process, its machine or the database. */
export const WORLD_FAULTS = [
  'pause',
  'suspend',
  'partition',
  'kill',
  'shutdown',
  'database restart',
  'clock step',
] as const;

export type LinkFault = (typeof LINK_FAULTS)[number];
export type WorldFault = (typeof WORLD_FAULTS)[number];
/** `overtaken`: a request reached the database after a later request of the same process. */
export type Fault = LinkFault | WorldFault | 'overtaken';

/** The kinds of requests to the store. */
export type Operation = keyof Schedule['troubled'];

/**
 * The settings of one simulated world: its processes, their work, and the faults they meet.
 */
export interface Schedule {
  /**
   * Milliseconds during which workers begin new work. Afterwards, running work only finishes.
   */
  day: number;
  processes: number;
  /** The number of workers in each process. */
  workers: number;
  keys: readonly string[];
  /** Whether the store renews many leases in one request. */
  batches: boolean;
  /** Whether the store releases locks to waiters in one request. */
  passes: boolean;
  /**
   * Whether a process sends acquisitions that begin at about the same time in one statement.
   */
  shares: boolean;
  ttls: readonly number[];
  /**
   * The longest pause of a worker between two locks in milliseconds, and `work`, the longest
   * between two steps under a lock.
   */
  idle: number;
  work: number;
  /** A worker takes fewer steps than this number under a lock. */
  steps: number;
  /** Percentage of steps that are extensions. */
  extensions: number;
  /** Percentage of steps that are transactions. */
  transactions: number;
  /**
   * The percentage of a worker's rounds that begin with a forced release of a key, and
   * `purges`, the percentage that begin with a purge.
   */
  forceReleases: number;
  purges: number;
  /** Milliseconds that a request or an answer takes at most if no fault delays it. */
  delay: number;
  /**
   * For each kind of request, the percentage of requests that meet one of the `linkFaults`.
   */
  troubled: { acquire: number; renew: number; extend: number; release: number; releaseToWaiter: number };
  linkFaults: readonly LinkFault[];
  worldFaults: readonly WorldFault[];
  /** Milliseconds for which a fault pauses a process at most. */
  pause: number;
}

/**
 * Milliseconds by which the clock of the database is ahead at most. The margin of the shortest
 * lease has to cover such a step.
 */
export const CLOCK_STEP = 40;

/**
 * Faults after which a request can arrive later than requests sent after it. Schedules often
 * have these faults, because they cause the most intricate failures.
 */
const TARDY: readonly LinkFault[] = ['delay', 'carried out late'];

const TTLS = [300, 900, 2000, 5000, 8000, Infinity];

/**
 * A schedule in which workers hold locks for long, and suspensions of machines are the only
 * faults.
 */
const SLEEPY: Partial<Schedule> = {
  day: 12_000,
  ttls: [900, 2000],
  work: 1000,
  steps: 30,
  extensions: 0,
  delay: 20,
  linkFaults: [],
  worldFaults: ['suspend'],
};

/**
 * Draws a schedule with only some of the faults, or with no faults. A few faults reveal bugs
 * that all faults together would hide (Groce et al., Swarm Testing, ISSTA 2012).
 */
export function drawSchedule(random: SeededRandom, number: number): Schedule {
  const ttls = random.someOf(TTLS, 50);
  const troubled = (): number => random.oneOf([0, 5, 20, 60]);
  const schedule: Schedule = {
    day: random.oneOf([3_000, 6_000, 12_000]),
    processes: random.oneOf([2, 2, 3]),
    workers: random.oneOf([1, 1, 2]),
    keys: ['a', 'b', 'c'].slice(0, random.between(1, 3)),
    batches: random.percent(70),
    passes: random.percent(70),
    shares: false,
    ttls: ttls.length > 0 ? ttls : [900],
    idle: random.oneOf([100, 1000, 3000]),
    work: random.oneOf([100, 700, 2500]),
    steps: random.oneOf([4, 12]),
    extensions: random.oneOf([0, 20, 60]),
    delay: random.oneOf([0, 20, 60, 300]),
    troubled: {
      acquire: troubled(),
      renew: troubled(),
      extend: troubled(),
      release: troubled(),
      releaseToWaiter: troubled(),
    },
    linkFaults: [...random.someOf(LINK_FAULTS, 20), ...random.someOf(TARDY, 30)],
    worldFaults: random.someOf(WORLD_FAULTS, 25),
    pause: random.oneOf([200, 1500, 6000]),
    forceReleases: random.oneOf([0, 0, 0, 10, 40]),
    purges: random.oneOf([0, 0, 10, 40]),
    transactions: random.oneOf([0, 0, 10, 40]),
  };
  // Every tenth schedule has crowds. A random draw for this decision would change all other
  // schedules.
  if (number % 10 === 0) return { ...schedule, ...drawCrowds(random) };
  const kind = random.below(100);
  if (kind < 35) return { ...schedule, ...drawExtensions(random) };
  if (kind < 50) return { ...schedule, ...drawSuccessions(random) };
  return kind < 60 ? { ...schedule, ...SLEEPY } : schedule;
}

/**
 * Many workers of each process want different keys over slow links, so their requests share
 * statements.
 */
function drawCrowds(random: SeededRandom): Partial<Schedule> {
  return {
    shares: true,
    processes: 2,
    workers: random.oneOf([6, 10]),
    keys: ['a', 'b', 'c', 'd', 'e', 'f'],
    idle: random.oneOf([20, 100, 500]),
    work: random.oneOf([20, 100, 500]),
    steps: random.oneOf([2, 4]),
    delay: random.oneOf([20, 60, 300]),
  };
}

/** Many workers of each process want the same key, so a waiter is nearly always there. */
function drawSuccessions(random: SeededRandom): Partial<Schedule> {
  return {
    processes: 2,
    workers: random.oneOf([3, 5]),
    keys: random.oneOf([['a'], ['a', 'b']]),
    passes: true,
    idle: 100,
    work: random.oneOf([20, 100, 500]),
    steps: random.oneOf([2, 4]),
    extensions: random.oneOf([0, 20]),
  };
}

/**
 * Workers hold locks for long and extend them often, mostly in vain. Deadlines are hardest to
 * compute there, because requests with different ttls overtake each other.
 */
function drawExtensions(random: SeededRandom): Partial<Schedule> {
  return {
    processes: 2,
    workers: 1,
    keys: ['a', 'b', 'c'],
    ttls: random.oneOf([[900], [900, 2000], [5000, 8000]]),
    idle: 1000,
    steps: 30,
    work: random.oneOf([300, 1000]),
    extensions: random.oneOf([20, 60]),
    delay: random.oneOf([20, 60]),
    troubled: {
      acquire: random.oneOf([0, 60]),
      renew: random.oneOf([0, 0, 10]),
      extend: 60,
      release: 0,
      releaseToWaiter: 0,
    },
    linkFaults: random.oneOf([
      ['delay'],
      ['carried out late'],
      ['delay', 'carried out late', 'answer unanswered'],
    ]),
    worldFaults: random.someOf(WORLD_FAULTS, 10),
  };
}
