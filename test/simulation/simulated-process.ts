import type { Clock, Timer } from '../../lib/engine/clock.js';
import type { LockStore } from '../../lib/interfaces/lock-store.interface.js';
import { LockService } from '../../lib/lock.service.js';
import type { World } from './world.js';

interface ProcessTimer {
  /** The time on the monotonic clock of the machine at which the timer fires. */
  readonly due: number;
  readonly ref: boolean;
}

const EPOCH = Date.UTC(2026, 10, 20);
const HOUR = 3_600_000;

/**
 * A process on its own machine. It runs the real LockService with the clocks, timers and
 * random numbers of the simulated world.
 */
export class SimulatedProcess {
  readonly clock: Clock;
  readonly service: LockService;
  /** Whether the process was killed or is shutting down, so that it begins no new work. */
  ended = false;
  partitioned = false;
  /** The time on the monotonic clock at which the last suspension ended. */
  resumedAt = -Infinity;
  #dead = false;
  #stoppedUntil = 0;
  #suspendedAt: number | undefined;
  #asleep = 0;
  readonly #bornAt: number;
  readonly #timers = new Set<ProcessTimer>();
  /** Timers and answers that came while the process was stopped, and run when it goes on. */
  #late: { timers: (() => void)[]; answers: (() => void)[] } = { timers: [], answers: [] };

  constructor(
    readonly name: string,
    private readonly world: World,
    link: (process: SimulatedProcess) => LockStore,
  ) {
    const { timeline, random } = world;
    // The clocks of all processes differ from each other and from the database's clock.
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

  /**
   * The milliseconds of the monotonic clock, which goes on while the process is paused, and
   * stands still while its machine is suspended.
   */
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

  /**
   * Returns the number of pending timers of the library. `onlyRef` counts only timers that
   * keep the process alive.
   */
  timers(onlyRef = false): number {
    return [...this.#timers].filter(({ ref }) => ref || !onlyRef).length;
  }

  /** Pauses the process for this time, in which no timer and no code of the process runs. */
  pause(ms: number): void {
    this.#stop(ms);
  }

  /**
   * Suspends the machine of the process for this time, in which its monotonic clock stands
   * still.
   */
  suspend(ms: number): void {
    if (this.stopped) return;
    this.#suspendedAt = this.world.timeline.now;
    this.#stop(ms);
  }

  /** Ends the process at once, as kill -9 does. */
  kill(): void {
    this.#dead = this.ended = true;
    this.#timers.clear();
    this.#late = { timers: [], answers: [] };
  }

  /** Lets the application wait for this time, without a timer of the library. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.world.timeline.in(ms, () => this.receive(resolve)));
  }

  /**
   * Runs the callback when an answer arrives: at once, or if the process is stopped, when it
   * goes on.
   */
  receive(callback: () => void): void {
    this.#run('answers', callback);
  }

  #after(ms: number, callback: () => void, ref: boolean): Timer {
    const wait = Math.max(1, Math.ceil(ms)); // A timer waits at least 1 ms, like setTimeout.
    const timer: ProcessTimer = { due: this.now + wait, ref };
    if (this.#dead || wait === Infinity) return { cancel() {} };
    this.#timers.add(timer);
    const fire = (): void => {
      if (!this.#timers.has(timer)) return;
      const left = timer.due - this.now;
      if (left > 0)
        // The monotonic clock stood still during a suspension, so the timer is not due yet.
        appointment = this.world.timeline.in(left, due);
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

  /**
   * Runs all late timers and answers. Whether timers or answers come first is drawn at random,
   * since it depends on where the event loop was stopped.
   */
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
