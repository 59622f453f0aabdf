import type { Clock, Timer } from '../../lib/engine/clock.js';
import type { LockStore } from '../../lib/interfaces/lock-store.interface.js';
import { LockService } from '../../lib/lock.service.js';
import type { World } from './world.js';

interface ProcessTimer {
  /** On the monotonic clock of the machine. */
  readonly due: number;
  readonly ref: boolean;
}

const EPOCH = Date.UTC(2026, 10, 20);
const HOUR = 3_600_000;

/** A process on a machine of its own, which runs the library's own service on clocks, timers and chance of the simulated world. */
export class SimulatedProcess {
  readonly clock: Clock;
  readonly service: LockService;
  /** No new work is begun: it was killed, or is shutting down. */
  ended = false;
  partitioned = false;
  /** When its machine last came back from a suspension, on its monotonic clock. */
  resumedAt = -Infinity;
  #dead = false;
  #stoppedUntil = 0;
  #suspendedAt: number | undefined;
  #asleep = 0;
  readonly #bornAt: number;
  readonly #timers = new Set<ProcessTimer>();
  /** What waits until it goes on: timers that are due, and answers that have arrived. */
  #late: { timers: (() => void)[]; answers: (() => void)[] } = { timers: [], answers: [] };

  constructor(
    readonly name: string,
    private readonly world: World,
    link: (process: SimulatedProcess) => LockStore,
  ) {
    const { timeline, random } = world;
    // No two of them agree about the time, and none with the database.
    this.#bornAt = timeline.now - random.below(HOUR);
    const wrong = random.between(-HOUR, HOUR);
    this.clock = {
      now: () => this.now,
      date: () => EPOCH + timeline.now + wrong,
      wall: () => EPOCH + timeline.now + wrong,
      uptime: () => timeline.now - this.#bornAt + 24 * HOUR,
      random: () => random.next(),
      after: (ms, callback, ref) => this.#after(ms, callback, ref),
    };
    this.service = new LockService({
      options: { label: name, shutdownTimeout: 2000 },
      openStore: () => link(this),
      clock: this.clock,
    });
    this.service.events.on('lost', ({ error }) => {
      world.losses++;
      world.story?.tell(name, `is told: ${error.message}`);
    });
  }

  /** Monotonic milliseconds: they go on while the process is paused, and stand still while its machine is suspended. */
  get now(): number {
    return (this.#suspendedAt ?? this.world.timeline.now) - this.#bornAt - this.#asleep;
  }

  get dead(): boolean {
    return this.#dead;
  }

  get stopped(): boolean {
    return this.world.timeline.now < this.#stoppedUntil;
  }

  get suspended(): boolean {
    return this.#suspendedAt !== undefined;
  }

  /** The library's timers; only those that keep the process alive, if so asked. */
  timers(onlyRef = false): number {
    return [...this.#timers].filter(({ ref }) => ref || !onlyRef).length;
  }

  /** Nothing runs in it for so long. */
  pause(ms: number): void {
    this.#stop(ms);
  }

  /** Its machine is suspended for so long. */
  suspend(ms: number): void {
    if (this.stopped) return;
    this.#suspendedAt = this.world.timeline.now;
    this.#stop(ms);
  }

  /** It is gone at once, as with kill -9. */
  kill(): void {
    this.#dead = this.ended = true;
    this.#timers.clear();
    this.#late = { timers: [], answers: [] };
  }

  /** A sleep of the application, not of the library. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.world.timeline.in(ms, () => this.receive(resolve)));
  }

  /** Runs when something has arrived from outside: at once, or when the process goes on. */
  receive(callback: () => void): void {
    this.#run('answers', callback);
  }

  #after(ms: number, callback: () => void, ref: boolean): Timer {
    const wait = Math.max(1, Math.ceil(ms)); // as setTimeout has it
    const timer: ProcessTimer = { due: this.now + wait, ref };
    if (this.#dead || wait === Infinity) return { cancel() {} };
    this.#timers.add(timer);
    const fire = (): void => {
      if (!this.#timers.has(timer)) return;
      const left = timer.due - this.now;
      if (left > 0)
        appointment = this.world.timeline.in(left, due); // the machine was suspended meanwhile
      else if (this.#timers.delete(timer)) callback();
    };
    const due = (): void => this.#run('timers', fire);
    let appointment = this.world.timeline.in(wait, due);
    return {
      cancel: () => {
        this.#timers.delete(timer);
        appointment.cancel();
      },
    };
  }

  #run(kind: 'timers' | 'answers', callback: () => void): void {
    if (this.#dead) return;
    if (this.stopped) this.#late[kind].push(callback);
    else callback();
  }

  #stop(ms: number): void {
    const until = this.world.timeline.now + ms;
    if (until <= this.#stoppedUntil) return;
    this.#stoppedUntil = until;
    this.world.timeline.in(ms, () => this.#goOn());
  }

  /** Timers and answers that are late come all at once. Which are first depends on where the event loop was stopped. */
  #goOn(): void {
    const { timeline, random } = this.world;
    if (this.#dead || this.stopped) return;
    if (this.#suspendedAt !== undefined) {
      this.#asleep += timeline.now - this.#suspendedAt;
      this.#suspendedAt = undefined;
      this.resumedAt = this.now;
    }
    this.world.story?.tell(this.name, 'goes on');
    const { timers, answers } = this.#late;
    this.#late = { timers: [], answers: [] };
    const inOrder = random.percent(50) ? [...timers, ...answers] : [...answers, ...timers];
    for (const callback of inOrder) timeline.in(0, () => this.#run('answers', callback));
  }
}
