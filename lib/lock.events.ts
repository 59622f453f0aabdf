import { channel, type Channel } from 'node:diagnostics_channel';
import { EventEmitter } from 'node:events';
import type { LockRecord } from './interfaces/lock-record.interface.js';
import type { BusyReason, LockLostError, LockStoreError } from './lock.errors.js';

/**
 * What each event carries; never an owner id. `job` is the name of the decorated method. Label
 * metrics with it and not with the key, since there may be many keys.
 *
 * @publicApi
 */
export interface LockEventMap {
  acquired: [event: { key: string; job?: string; label: string; fencingToken: number; waited: number }];
  /** The call did not get the lock. `reason` says why. */
  busy: [event: { key: string; job?: string; waited: number; reason: BusyReason; holder?: LockRecord }];
  /** The lock was handed off to another process, see `Lock.handOff`. */
  handedOff: [event: { key: string; job?: string; fencingToken: number; heldFor: number }];
  /**
   * The tick of a scheduled run is too far ahead of the database's clock to be recorded: this
   * machine's clock is wrong. The method runs under the lock alone, so other instances may run
   * the same tick.
   */
  tickAhead: [event: { key: string; job?: string; tick: Date }];
  /** The recorded tick of a key was too far ahead of the database's clock, and was ignored. */
  tickIgnored: [event: { key: string; job?: string; tick: Date }];
  /** The lock of another process was restored here, see `LockService.restore`. */
  restored: [event: { key: string; fencingToken: number }];
  released: [event: { key: string; job?: string; fencingToken: number; heldFor: number }];
  lost: [event: { key: string; job?: string; fencingToken: number; heldFor: number; error: LockLostError }];
  renewFailed: [event: { key: string; job?: string; fencingToken: number; error: LockStoreError }];
  storeError: [event: { key: string; job?: string; operation: 'acquire' | 'release'; error: LockStoreError }];
}

/** The names of the events. @publicApi */
export type LockEventName = keyof LockEventMap;

/**
 * The events of one lock service. Each is also published on the `diagnostics_channel` named
 * `nestjs-locked:<event>`, with the module's name as `module`. If a listener throws or
 * rejects, the error is only logged.
 *
 * @publicApi
 */
export type LockEvents = EventEmitter<LockEventMap>;

/** Publishes the events of one lock service. It never throws, because timers call it. */
export class LockEventPublisher {
  readonly events: LockEvents = new EventEmitter<LockEventMap>();
  readonly #channels = new Map<LockEventName, Channel>();

  constructor(
    private readonly moduleName: string,
    private readonly onListenerError: (event: string, error: unknown) => void,
  ) {}

  publish<Name extends LockEventName>(name: Name, ...[event]: LockEventMap[Name]): void {
    const diagnostics = this.#channelOf(name);
    if (diagnostics.hasSubscribers) diagnostics.publish({ ...event, module: this.moduleName });
    if (this.events.listenerCount(name) === 0) return;
    // Not `emit`: with it, a listener that throws keeps the event from the listeners after it.
    for (const listener of this.events.rawListeners(name)) void this.#tell(listener, name, event);
  }

  #channelOf(name: LockEventName): Channel {
    let known = this.#channels.get(name);
    if (!known) this.#channels.set(name, (known = channel(`nestjs-locked:${name}`)));
    return known;
  }

  async #tell(listener: Function, name: LockEventName, event: unknown): Promise<void> {
    try {
      await Reflect.apply(listener, this.events, [event]);
    } catch (error) {
      this.onListenerError(name, error);
    }
  }
}
