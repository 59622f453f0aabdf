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

/**
 * A process on a machine of its own. It runs the library's real service with the clocks,
 * timers and random numbers of the simulated world.
 */
export class SimulatedProcess {
  readonly clock: Clock;
  readonly service: LockService;
  /** No new work begins: the process was killed or is shutting down. */
  ended = false;
  partitioned = false;
  /** The last end of a suspension on the monotonic clock. */
  resumedAt = -Infinity;
  #dead = false;
  #stoppedUntil = 0;
  #suspendedAt: number | undefined;
  #asleep = 0;
  readonly #bornAt: number;
  readonly #timers = new Set<ProcessTimer>();
  /** Due timers and arrived answers that wait until the process goes on. */
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
   * Monotonic milliseconds. They advance while the process is paused, and stand still while
   * its machine is suspended.
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
   * The number of the library's timers. `onlyRef` counts only the timers that keep the process
   * alive.
   */
  timers(onlyRef = false): number {
    return [...this.#timers].filter(({ ref }) => ref || !onlyRef).length;
  }

  /** Pauses the process: nothing runs in it for this time. */
  pause(ms: number): void {
    this.#stop(ms);
  }

  /** Suspends the machine of the process. */
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

  /** A sleep of the application, not of the library. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.world.timeline.in(ms, () => this.receive(resolve)));
  }

  /** Runs the callback of an arrival: at once, or when the process goes on. */
  receive(callback: () => void): void {
    this.#run('answers', callback);
  }

  #after(ms: number, callback: () => void, ref: boolean): Timer {
    const wait = Math.max(1, Math.ceil(ms)); // Like setTimeout, at least 1 ms.
    const timer: ProcessTimer = { due: this.now + wait, ref };
    if (this.#dead || wait === Infinity) return { cancel() {} };
    this.#timers.add(timer);
    const fire = (): void => {
      if (!this.#timers.has(timer)) return;
      const left = timer.due - this.now;
      if (left > 0)
        // The machine was suspended meanwhile.
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
   * Runs all late timers and answers. Their order depends on where the event loop was stopped.
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
