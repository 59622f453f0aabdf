import { channel, type Channel } from 'node:diagnostics_channel';
import { EventEmitter } from 'node:events';
import type { LockRecord } from './interfaces/lock-record.interface.js';
import type { BusyReason, LockLostError, LockStoreError } from './lock.errors.js';

/** The data of each event about a key. @publicApi */
export interface LockKeyEvent {
  /** The key of the lock, without the module's prefix. */
  key: string;
}

/** The data of each event about a call. @publicApi */
export interface LockCallEvent extends LockKeyEvent {
  /**
   * `ClassName.methodName` of the decorated method or the handler; absent for other calls.
   * Label metrics with it and not with the key, since there may be many keys.
   */
  job?: string;
}

/** The data of each event about a lock with a token. @publicApi */
export interface LockTokenEvent {
  /** The fencing token of the lock. */
  fencingToken: number;
}

/** The data of each event about a lock that is no longer held. @publicApi */
export interface LockEndEvent extends LockCallEvent, LockTokenEvent {
  /** Milliseconds for which this process held the lock. */
  heldFor: number;
}

/** The data of each event about a call that has its result. @publicApi */
export interface LockWaitEvent extends LockCallEvent {
  /** Milliseconds from the beginning of the call to its result. */
  waited: number;
}

/** The data of each event about a tick. @publicApi */
export interface LockTickEvent extends LockCallEvent {
  /** The nominal time of the tick. */
  tick: Date;
}

/** The data of each event, which never contain an owner id. @publicApi */
export interface LockEventMap {
  /** A call got the lock. */
  acquired: [
    event: LockWaitEvent &
      LockTokenEvent & {
        /** The name under which other processes see the holder. */
        label: string;
      },
  ];
  /** A call did not get the lock. */
  busy: [
    event: LockWaitEvent & {
      /** Why the call did not get the lock. */
      reason: BusyReason;
      /** The holder at the last attempt, if the store reported it. */
      holder?: LockRecord;
    },
  ];
  /** The lock was handed off to another process, see `Lock.handOff`. */
  handedOff: [event: LockEndEvent];
  /**
   * The tick of a scheduled run is too far ahead of the database's clock to be recorded: this
   * machine's clock is wrong. The method runs under the lock alone, so other instances may run
   * the same tick.
   */
  tickAhead: [event: LockTickEvent];
  /** The recorded tick of a key was too far ahead of the database's clock, and was ignored. */
  tickIgnored: [event: LockTickEvent];
  /**
   * A lock that another process handed off was restored in this process, see
   * `LockService.restore`.
   */
  restored: [event: LockKeyEvent & LockTokenEvent];
  /** The lock was released by its holder, and had not been lost. */
  released: [event: LockEndEvent];
  /** The lock was lost before its holder released it. */
  lost: [
    event: LockEndEvent & {
      /** The error that says why. */
      error: LockLostError;
    },
  ];
  /** A renewal failed or was not answered. The library tries again while the lease lasts. */
  renewFailed: [
    event: LockCallEvent &
      LockTokenEvent & {
        /** The error of the renewal. */
        error: LockStoreError;
      },
  ];
  /** The store failed at an acquisition or a release. */
  storeError: [
    event: LockCallEvent & {
      /** The operation that failed. */
      operation: 'acquire' | 'release';
      /** The error of the store. */
      error: LockStoreError;
    },
  ];
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
    // Calls the listeners one by one: if a listener throws, `emit` would not call the
    // listeners after it.
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
