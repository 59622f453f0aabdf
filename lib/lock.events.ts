import { channel } from 'node:diagnostics_channel';
import { EventEmitter } from 'node:events';
import type { LockRecord } from './interfaces/lock-record.interface.js';
import type { BusyReason, LockLostError, LockStoreError } from './lock.errors.js';

/** What each event carries; never an owner id. `job` is the name of the decorated method: label metrics with it, not with the key. @publicApi */
export interface LockEventMap {
  acquired: [event: { key: string; job?: string; label: string; fencingToken: number; waited: number }];
  /** The call went without the lock; why, says `reason`. */
  busy: [event: { key: string; job?: string; waited: number; reason: BusyReason; holder?: LockRecord }];
  /** It goes on in another process, see `Lock.handOff`. */
  handedOff: [event: { key: string; job?: string; fencingToken: number; heldFor: number }];
  /**
   * The tick of a scheduled run is too far ahead of the database's clock to be recorded: this
   * machine's clock is wrong. The method runs under the lock alone, so other instances may run
   * the same tick.
   */
  tickAhead: [event: { key: string; job?: string; tick: Date }];
  /** The recorded tick of a key was too far ahead of the database's clock, and was ignored. */
  tickIgnored: [event: { key: string; job?: string; tick: Date }];
  /** It was handed on by another process, see `LockService.restore`. */
  restored: [event: { key: string; fencingToken: number }];
  released: [event: { key: string; job?: string; fencingToken: number; heldFor: number }];
  lost: [event: { key: string; job?: string; fencingToken: number; heldFor: number; error: LockLostError }];
  renewFailed: [event: { key: string; job?: string; fencingToken: number; error: LockStoreError }];
  storeError: [event: { key: string; job?: string; operation: 'acquire' | 'release'; error: LockStoreError }];
}

/** The names of the events. @publicApi */
export type LockEventName = keyof LockEventMap;

/**
 * The events of one lock service. Each is also published on the `diagnostics_channel` named `nestjs-locked:<event>`, with the module's name as
 * `module`. What a listener throws, or rejects with, is logged and goes no further.
 *
 * @publicApi
 */
export type LockEvents = EventEmitter<LockEventMap>;

/** Publishes the events of one lock service; never throws, since it is called from timers. */
export class LockEventPublisher {
  readonly events: LockEvents = new EventEmitter<LockEventMap>();

  constructor(
    private readonly moduleName: string,
    private readonly onListenerError: (event: string, error: unknown) => void,
  ) {}

  publish<Name extends LockEventName>(name: Name, ...[event]: LockEventMap[Name]): void {
    const diagnostics = channel(`nestjs-locked:${name}`);
    if (diagnostics.hasSubscribers) diagnostics.publish({ ...event, module: this.moduleName });
    // Not `emit`: there the listener that throws keeps the event from those after it.
    for (const listener of this.events.rawListeners(name)) void this.#tell(listener, name, event);
  }

  async #tell(listener: Function, name: LockEventName, event: unknown): Promise<void> {
    try {
      await Reflect.apply(listener, this.events, [event]);
    } catch (error) {
      this.onListenerError(name, error);
    }
  }
}
