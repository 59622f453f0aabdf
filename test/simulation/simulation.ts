import { INTERNALS } from '../../lib/lock-internals.js';
import { Logger } from '@nestjs/common';
import { getEventListeners } from 'node:events';
import { FaultInjector } from './fault-injector.js';
import { drawSchedule, type Fault } from './schedule.js';
import { SeededRandom } from './seeded-random.js';
import { SimulatedDatabase, type StoreBug } from './simulated-database.js';
import { SimulatedLink } from './simulated-link.js';
import { SimulatedProcess } from './simulated-process.js';
import { Witness } from './witness.js';
import { Worker } from './worker.js';
import { World } from './world.js';

/** The options for playing one schedule. */
export interface SimulationOptions {
  /** A bug to plant into the store. By default, the store has no bugs. */
  store?: StoreBug | undefined;
  /** Whether to record all events as a story for people. */
  story?: boolean;
}

/** The result of playing one schedule. */
export interface Outcome {
  holds: number;
  /** The number of holders that were notified that their lock was lost. */
  losses: number;
  /** The number of locks that were released to a waiter in one request. */
  passed: number;
  /** The number of requests that shared a statement with others. */
  shared: number;
  faults: ReadonlyMap<Fault, number>;
  /**
   * The first violation: a promise that the library has broken, such as one holder for a key.
   */
  violation: string | undefined;
  story: readonly string[];
}

/**
 * Milliseconds without faults after which every lease has expired and every answer has
 * arrived.
 */
const NIGHT = 60_000;

/** Plays the schedule with this number. The same number always gives the same events. */
export async function playSchedule(
  seed: number,
  number: number,
  { store, story = false }: SimulationOptions = {},
): Promise<Outcome> {
  const random = new SeededRandom(seed, number);
  const world = new World(drawSchedule(random, number), random, story);
  Logger.overrideLogger(false);
  Error.stackTraceLimit = story ? 20 : 0;
  const onRejection = (error: unknown): void => world.violate(`unhandled rejection: ${describe(error)}`);
  process.on('unhandledRejection', onRejection);
  try {
    await new Simulation(world, store).play();
  } finally {
    process.off('unhandledRejection', onRejection);
  }
  const { holds, losses, passed, shared, faults, violation } = world;
  return { holds, losses, passed, shared, faults, violation, story: world.story?.lines ?? [] };
}

class Simulation {
  readonly #witness: Witness;
  readonly #database: SimulatedDatabase;
  readonly #processes: SimulatedProcess[] = [];
  readonly #workers: Worker[] = [];

  constructor(
    private readonly world: World,
    bug: StoreBug | undefined,
  ) {
    this.#database = new SimulatedDatabase(world, bug);
    this.#witness = new Witness(world, this.#database);
  }

  async play(): Promise<void> {
    const { world } = this;
    world.story?.tell(
      'schedule',
      JSON.stringify(world.schedule, (_, value: unknown) => (value === Infinity ? 'endless' : value)),
    );
    for (let i = 1; i <= world.schedule.processes; i++) this.#start(`api-${i}`);
    const injector = new FaultInjector(world, this.#database, {
      running: () => this.#running(),
      stop: (process) => void this.#shutDown(process),
      kill: (process) => this.#kill(process),
      start: (name) => this.#start(name),
    });
    injector.begin(world.schedule.day);
    if (!(await this.#goOn(world.schedule.day))) return;
    world.story?.tell('schedule', 'there are no more faults, and no new work begins');
    world.calm = true;
    injector.end();
    if (!(await this.#goOn(NIGHT))) return;
    await this.#leavesNothing();
  }

  #running(): SimulatedProcess[] {
    return this.#processes.filter(({ ended }) => !ended);
  }

  #start(name: string): void {
    const { world } = this;
    const process = new SimulatedProcess(
      name,
      world,
      (itself) => new SimulatedLink(world, this.#database, this.#witness, itself),
    );
    this.#processes.push(process);
    for (let i = 0; i < world.schedule.workers; i++) {
      const worker = new Worker(world, this.#witness, process);
      this.#workers.push(worker);
      void worker.workUntil(world.schedule.day);
    }
  }

  #kill(process: SimulatedProcess): void {
    process.kill();
    this.#database.rollBack(process);
    this.#witness.forgetAllOf(process);
  }

  async #shutDown(process: SimulatedProcess): Promise<void> {
    process.ended = true;
    await process.service[INTERNALS].drain();
    await process.service[INTERNALS].close();
    this.world.story?.tell(process.name, 'has shut down');
    this.#witness.closed(process);
    const kept = process.timers(true);
    if (kept > 0) this.world.violate(`${kept} timers keep ${process.name} alive after its shutdown`);
  }

  async #leavesNothing(): Promise<void> {
    const { world } = this;
    for (const key of world.schedule.keys) await this.#freesKey(key);
    if (!(await this.#goOn(NIGHT))) return;
    for (const { ended, process } of this.#workers)
      if (!ended && !process.dead) world.violate(`a call of ${process.name} never ends`);
    for (const process of this.#running()) {
      // This run would not end if a forgotten waiter was left in the queue before it.
      const key = world.random.oneOf(world.schedule.keys);
      await this.#ends(
        process.service.run(key, () => {}, { wait: 5 }),
        `run of ${key}`,
      );
      await this.#ends(this.#shutDown(process), `shutdown of ${process.name}`);
      if (process.timers() > 0)
        world.violate(`timers are left by ${process.name}, which had nothing to wait for`);
    }
    await this.#goOn(NIGHT);
    for (const process of this.#processes) {
      const left = process.timers();
      if (left > 0) world.violate(`${left} timers of ${process.name} are left`);
    }
    const living = this.#workers.filter(({ process }) => !process.dead);
    for (const signal of living.flatMap(({ signals }) => signals))
      if (getEventListeners(signal, 'abort').length > 0) world.violate('a listener is left on a signal');
  }

  async #freesKey(key: string): Promise<void> {
    if (!this.#database.isHeld(key)) return;
    if (!this.#witness.mayBeLeft(this.#database.ownerOf(key)))
      this.world.violate(`${key} is held in the store, but by no process`);
    await this.#database.store.forceRelease(key);
  }

  async #ends(call: Promise<unknown>, what: string): Promise<void> {
    let ended = false;
    call.then(
      () => (ended = true),
      (error: unknown) => {
        ended = true;
        this.world.violate(`${what} failed at the end: ${describe(error)}`);
      },
    );
    await this.#goOn(NIGHT, () => !ended);
    if (!ended) this.world.violate(`${what} does not end`);
  }

  /**
   * Lets this time pass in the simulated world. Resolves to `false` if there was a violation.
   */
  async #goOn(ms: number, more = (): boolean => true): Promise<boolean> {
    const { world } = this;
    if (world.violation === undefined)
      await world.timeline.goOn(world.timeline.now + ms, () => this.#witness.look() && more());
    return world.violation === undefined;
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
