import type { SeededRandom } from './seeded-random.js';

/** What may become of a request that is on its way. */
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

/** What may happen to a process, its machine or the database. */
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
/** `overtaken`: the request of one process that came to the database after a later one. */
export type Fault = LinkFault | WorldFault | 'overtaken';

/** What is asked of the store. */
export type Operation = keyof Schedule['troubled'];

/** One small world, and what goes wrong in it. */
export interface Schedule {
  /** How long new work begins, in milliseconds. */
  day: number;
  processes: number;
  /** Of each process. */
  workers: number;
  keys: readonly string[];
  /** Whether the store renews many leases in one request. */
  batches: boolean;
  /** Whether the store passes locks on in one request. */
  passes: boolean;
  /** Whether requests of a process that arrive together share statements. */
  shares: boolean;
  ttls: readonly number[];
  /** The longest pause of a worker between two locks, and that between two things it does under a lock. */
  idle: number;
  work: number;
  /** One more than the most things done under a lock. */
  steps: number;
  /** Of 100 things done under a lock, how many are extensions. */
  extensions: number;
  /** Of 100 things done under a lock, how many are transactions. */
  transactions: number;
  /** Of 100 times that a worker begins something, how often it frees some key by force, and deletes keys that nobody uses. */
  forceReleases: number;
  purges: number;
  /** The longest usual way of a request, and of an answer. */
  delay: number;
  /** Of 100 requests of a kind, how many meet with one of the `linkFaults`. */
  troubled: { acquire: number; renew: number; extend: number; release: number; releaseToWaiter: number };
  linkFaults: readonly LinkFault[];
  worldFaults: readonly WorldFault[];
  /** The longest pause of a process. */
  pause: number;
}

/** The most by which the database's clock is ahead: the margin of the shortest lease bears it. */
export const CLOCK_STEP = 40;

/** What makes a request come after later ones. No other faults make for as intricate trouble. */
const TARDY: readonly LinkFault[] = ['delay', 'carried out late'];

const TTLS = [300, 900, 2000, 5000, 8000, Infinity];

/** Long holds on machines that are suspended now and then, and nothing else that would end them. */
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
 * Draws a schedule. Each has some of the faults only, and some have none: what all of them together hide, a few of them show
 * (Groce et al., Swarm Testing, ISSTA 2012).
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
  // Not drawn, so that the other schedules stay as they were.
  if (number % 10 === 0) return { ...schedule, ...drawCrowds(random) };
  const kind = random.below(100);
  if (kind < 35) return { ...schedule, ...drawExtensions(random) };
  if (kind < 50) return { ...schedule, ...drawSuccessions(random) };
  return kind < 60 ? { ...schedule, ...SLEEPY } : schedule;
}

/** Many who want different keys in each process, over links on which their requests meet. */
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

/** Many who want the same key in each process: there is nearly always somebody to pass it on to. */
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
 * Long holds with many extensions, over links that mostly fail under those. What a lease may be believed is hardest to tell there: requests that set it to
 * different times overtake each other.
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
