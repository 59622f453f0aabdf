import { INTERNALS, type LockServiceOptions } from '../../lib/lock-internals.js';
import { afterEach, beforeEach } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { LockService } from '../../lib/lock.service.js';
import type { LockEventMap, LockEventName } from '../../lib/lock.events.js';
import type { LockModuleDefaults } from '../../lib/options/lock.options.js';
import { ManualClock } from './manual-clock.js';
import { ScriptedStore } from './scripted-store.js';

export { errorOf } from '../module/error-of.js';

/** One line that the library logged. */
export interface LogLine {
  level: string;
  text: string;
}

/** The service, store, clock and published events of one test. */
export interface Core<Store extends ScriptedStore = ScriptedStore> {
  clock: ManualClock;
  store: Store;
  service: LockService;
  /** All published events, in order. */
  published: { name: LockEventName; event: LockEventMap[LockEventName][0] }[];
  names: () => LockEventName[];
  of: <Name extends LockEventName>(name: Name) => LockEventMap[Name][0][];
}

export const EVENTS: readonly LockEventName[] = [
  'acquired',
  'busy',
  'released',
  'lost',
  'renewFailed',
  'storeError',
  'handedOff',
  'restored',
];

/**
 * Starts a service on a scripted store and a manual clock, or another service on the same
 * store.
 */
export async function startCore(
  options: LockModuleDefaults = {},
  {
    clock = new ManualClock(),
    store = new ScriptedStore(clock),
    ...setup
  }: Partial<LockServiceOptions> & { clock?: ManualClock; store?: ScriptedStore } = {},
): Promise<Core> {
  const service = new LockService({ options, openStore: () => store, clock, ...setup });
  const published: Core['published'] = [];
  for (const name of EVENTS) {
    service.events.on(name, (event: LockEventMap[LockEventName][0]) => published.push({ name, event }));
  }
  if (service.enabled) await service[INTERNALS].start();
  return {
    clock,
    store,
    service,
    published,
    names: () => published.map(({ name }) => name),
    of: (name) => published.filter((one) => one.name === name).map(({ event }) => event as never),
  };
}

/** Starts a service that plays a second process on the same store and clock. */
export const another = ({ store, clock }: Core): Promise<Core> => startCore({}, { store, clock });

/** Captures the log lines of the library while a test runs. */
export function captureLog(): LogLine[] {
  const lines: LogLine[] = [];
  const line =
    (level: string) =>
    (message: unknown): void =>
      void lines.push({ level, text: String(message) });
  beforeEach(() => {
    lines.length = 0;
    Logger.overrideLogger(['error', 'warn', 'log', 'debug']);
    Logger.overrideLogger({
      log: line('log'),
      warn: line('warn'),
      error: line('error'),
      debug: line('debug'),
    });
  });
  afterEach(() => Logger.overrideLogger(['error', 'warn', 'log', 'debug']));
  return lines;
}

export function warnings(lines: LogLine[]): string[] {
  return lines.filter(({ level }) => level === 'warn').map(({ text }) => text);
}

/**
 * What a test sees of a promise without awaiting it: whether it is pending, its value or its
 * error.
 */
export interface Watched<T> {
  state: 'pending' | 'resolved' | 'rejected';
  value?: T;
  error?: unknown;
}

export function watch<T>(promise: Promise<T>): Watched<T> {
  const watched: Watched<T> = { state: 'pending' };
  promise.then(
    (value) => Object.assign(watched, { state: 'resolved', value }),
    (error: unknown) => Object.assign(watched, { state: 'rejected', error }),
  );
  return watched;
}

/** Starts a service on a store of this class. */
export async function startCoreWith<Store extends ScriptedStore>(
  Kind: new (clock: ManualClock) => Store,
  options: LockModuleDefaults = {},
): Promise<Core<Store>> {
  const clock = new ManualClock();
  const store = new Kind(clock);
  return { ...(await startCore(options, { clock, store })), store };
}

/**
 * A promise for the body of a run. The test resolves it with `open` or rejects it with `fail`.
 */
export function gate<T = void>(): {
  promise: Promise<T>;
  open: (value: T) => void;
  fail: (error: Error) => void;
} {
  let open: (value: T) => void = () => {};
  let fail: (error: Error) => void = () => {};
  const promise = new Promise<T>((resolve, reject) => {
    open = resolve;
    fail = reject;
  });
  return { promise, open, fail };
}
