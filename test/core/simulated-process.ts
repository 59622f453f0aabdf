import type { Clock, Timer } from '../../lib/clock.js';
import type { LockStore } from '../../lib/interfaces/lock-store.interface.js';
import { LockService } from '../../lib/lock.service.js';
import type { ManualClock } from './manual-clock.js';
import type { ScriptedStore } from './scripted-store.js';

/** One of several processes on one database: it can be frozen by itself, while time goes on for the others. */
export class SimulatedProcess {
  readonly service: LockService;
  readonly clock: Clock;
  #frozenUntil = 0;

  constructor(
    private readonly world: ManualClock,
    private readonly store: ScriptedStore,
  ) {
    this.clock = {
      now: () => world.now(),
      date: () => world.date(),
      uptime: () => world.uptime(),
      random: () => world.random(),
      after: (ms, callback, ref) => this.#after(ms, callback, ref),
    };
    this.service = new LockService({ options: {}, openStore: () => this.#link(), clock: this.clock });
  }

  freeze(ms: number): void {
    this.#frozenUntil = Math.max(this.#frozenUntil, this.world.now() + ms);
  }

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.clock.after(ms, resolve, true));
  }

  /** Timers of a frozen process fire when it goes on. */
  #after(ms: number, callback: () => void, ref: boolean): Timer {
    let cancelled = false;
    const fire = (): void => {
      if (!cancelled) this.#whenAwake(() => !cancelled && callback());
    };
    const timer = this.world.after(ms, fire, ref);
    return {
      cancel: () => {
        cancelled = true;
        timer.cancel();
      },
    };
  }

  /** Answers reach a frozen process when it goes on. */
  #link(): LockStore & Required<Pick<ScriptedStore, 'renewMany'>> {
    const carry = <Args extends unknown[], T>(request: (...args: Args) => Promise<T>) => {
      return (...args: Args) =>
        new Promise<T>((resolve, reject) => {
          request(...args).then(
            (answer) => this.#whenAwake(() => resolve(answer)),
            (error: unknown) => this.#whenAwake(() => reject(error)),
          );
        });
    };
    const { store } = this;
    return {
      acquire: carry(store.acquire.bind(store)),
      renew: carry(store.renew.bind(store)),
      renewMany: carry(store.renewMany.bind(store)),
      release: carry(store.release.bind(store)),
    };
  }

  #whenAwake(callback: () => void): void {
    const left = this.#frozenUntil - this.world.now();
    if (left > 0) this.world.outside(left, () => this.#whenAwake(callback));
    else callback();
  }
}
