import { CLOCK_STEP, type WorldFault } from './schedule.js';
import type { SimulatedDatabase } from './simulated-database.js';
import type { SimulatedProcess } from './simulated-process.js';
import type { World } from './world.js';

/** The methods with which FaultInjector ends processes and starts new ones. */
export interface Operator {
  running(): SimulatedProcess[];
  stop(process: SimulatedProcess): void;
  kill(process: SimulatedProcess): void;
  start(name: string): void;
}

/**
 * Milliseconds that a suspension lasts at least. The library would not notice a shorter one,
 * since it tolerates small errors in the machine's uptime.
 */
const SHORTEST_SUSPENSION = 2_000;

/**
 * Applies the faults of the schedule to processes, machines and the database, at random times.
 */
export class FaultInjector {
  #ended = false;
  readonly #faults: Record<WorldFault, (process: SimulatedProcess) => void> = {
    pause: (process) => {
      const ms = this.world.random.below(this.world.schedule.pause);
      this.#tell(process.name, `is paused for ${ms} ms`);
      process.pause(ms);
    },
    suspend: (process) => {
      if (process.stopped) return;
      const ms = this.world.random.between(SHORTEST_SUSPENSION, 6_000);
      this.#tell(process.name, `its machine is suspended for ${ms} ms`);
      process.suspend(ms);
      // After the suspension, the network of the machine may take longer to come back than the
      // machine itself.
      if (this.world.random.percent(50)) this.#cutOff(process, ms + this.world.random.below(4000));
    },
    partition: (process) => this.#cutOff(process, this.world.random.between(100, 4000)),
    kill: (process) => {
      this.#tell(process.name, 'is killed');
      this.operator.kill(process);
      this.#succeed(process);
    },
    shutdown: (process) => {
      this.#tell(process.name, 'shuts down');
      this.operator.stop(process);
      this.#succeed(process);
    },
    'database restart': () => {
      const ms = this.world.random.between(50, 2000);
      this.#tell('database', `restarts, and is down for ${ms} ms`);
      this.database.restart(ms);
    },
    'clock step': () => {
      const ahead = this.world.random.between(0, CLOCK_STEP);
      this.#tell('database', `its clock is set to ${ahead} ms ahead`);
      this.database.setClock(ahead);
    },
  };

  constructor(
    private readonly world: World,
    private readonly database: SimulatedDatabase,
    private readonly operator: Operator,
  ) {}

  begin(until: number): void {
    for (const fault of this.world.schedule.worldFaults) this.#repeat(fault, until);
  }

  end(): void {
    this.#ended = true;
    for (const process of this.operator.running()) process.partitioned = false;
  }

  #repeat(fault: WorldFault, until: number): void {
    const wait = this.world.random.between(300, 6000);
    if (this.world.timeline.now + wait > until) return;
    this.world.timeline.in(wait, () => {
      const running = this.operator.running();
      if (running.length > 0) {
        this.world.count(fault);
        this.#faults[fault](this.world.random.oneOf(running));
      }
      this.#repeat(fault, until);
    });
  }

  #cutOff(process: SimulatedProcess, ms: number): void {
    this.#tell(process.name, `is cut off for ${ms} ms`);
    process.partitioned = true;
    this.world.timeline.in(ms, () => {
      process.partitioned = false;
      this.#tell(process.name, 'is connected again');
    });
  }

  /** Starts a new process some time after this process has ended. */
  #succeed({ name }: SimulatedProcess): void {
    const [first = name, generation = '1'] = name.split('.');
    this.world.timeline.in(this.world.random.between(50, 1500), () => {
      if (this.#ended) return;
      this.operator.start(`${first}.${Number(generation) + 1}`);
    });
  }

  #tell(who: string, what: string): void {
    this.world.story?.tell(who, what);
  }
}
