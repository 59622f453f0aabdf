import { Logger } from '@nestjs/common';
import type { Clock } from './clock.js';
import type { LockEvents } from '../lock.events.js';
import { show } from '../lock.errors.js';

const REPEAT_AFTER = 60_000;
const REMEMBERED = 1_000;
/**
 * For how many keys a warning about locks inside transactions is logged. Keys may be made from
 * ids, and one mistake in the code must not be logged for each of them.
 */
const KEYS_INSIDE_TRANSACTIONS = 10;

/** Warnings that are logged each time. */
const EACH_TIME = {
  lost: ({ message }: Error) =>
    `${message} The work under the lock goes on unless it checks lock.held or lock.signal.`,
  enabled: () => 'Locking is enabled again.',
  paused: (key: string) => `Lock "${key}" is paused: no instance gets it until it is resumed.`,
  noScheduler: (methods: string[]) =>
    `${methods.join(', ')}: the application has no scheduler, so nothing calls ${methods.length === 1 ? 'this method' : 'these methods'}. Import ScheduleModule.forRoot() from @nestjs/schedule.`,
  severalSchedulers: (count: number) =>
    `The application has ${count} schedulers, so each tick calls each scheduled method ${count} times. Import ScheduleModule.forRoot() once, in the root module.`,
  /** @param ahead milliseconds by which the store's clock is ahead of this machine's clock */
  clocksDiffer: (ahead: number) =>
    `The clock of this machine is ${(Math.abs(ahead) / 1000).toFixed(1)} s ${ahead > 0 ? 'behind' : 'ahead of'} the clock of the lock store. While locking is disabled, fencing tokens come from this machine's clock: after locking is disabled or enabled, fenced writes may be refused for that long. Synchronize both clocks with a time server.`,
  minifiedKeys: (keys: string[]) =>
    `A minifier seems to have changed the class names in these default keys: ${keys.join(', ')}. The next build may change them again. Then two builds exclude each other for the wrong methods, or not at all. Give the methods keys, @Locked('…'), or let the build keep class names. The option requireKeys refuses default keys.`,
  minifiedTicks: (methods: string[]) =>
    `A minifier seems to have changed the class names of these scheduled methods: ${methods.join(', ')}. The lock store keeps their ticks under these names. If the next build changes them again, both builds may run the same tick. Let the build keep class names.`,
  noShutdownHooks: () =>
    'Nothing listens for SIGTERM: locks that are held when the process is stopped stay until their ttl ends. Call app.enableShutdownHooks().',
};

/** Warnings that may repeat: each is logged once a minute for the same key, event or topic. */
const ONCE_A_MINUTE = {
  tickAhead: (key: string, tick: Date) =>
    `The tick ${tick.toISOString()} of lock "${key}" is too far ahead of the database's clock to be recorded. The method runs, but other instances may run this tick too. Set the clock of this machine.`,
  tickIgnored: (key: string, tick: Date) =>
    `The recorded tick ${tick.toISOString()} of lock "${key}" is too far ahead of the database's clock, and is ignored. Set the clocks of the instances and of the database.`,
  renewFailed: (key: string, error: Error) =>
    `Lock "${key}" could not be renewed; the renewal is tried again: ${describe(error)}`,
  storeFailed: (request: string, error: Error) => `The ${request} failed: ${describe(error)}`,
  clockUnread: (error: unknown) =>
    `The clock of the lock store could not be read, so it was not compared with the clock of this machine: ${describe(error)}`,
  statusFileFailed: (path: string, error: unknown) =>
    `The status file ${path} could not be written: ${describe(error)}`,
  purgeFailed: (error: unknown) =>
    `The scheduled purge failed, and is tried again at the next interval: ${describe(error)}`,
  storeWarning: (_topic: string, message: string) => message,
  unusedStream: (key: string) =>
    `The stream that a handler returned under lock "${key}" was not read for as long as the ttl of the lock, so the lock is released. Subscribe to the stream sooner.`,
  transactionHangs: (key: string, open: number) =>
    `The transaction under lock "${key}" has been open for ${open / 1000} s. Until the transaction ends, no other session gets the rows that it has locked, in some databases even after the lock has ended. Look for work in the transaction that waits, and set a time limit on its statements.`,
  transactionsUnknown: (error: unknown) =>
    `A library could not say whether a transaction is open. Locks inside transactions of that library give no more warnings: ${describe(error)}`,
  releasedInTransaction: (key: string, job: string | undefined) =>
    `Lock "${key}"${job ? ` of ${job}` : ''} was released inside the transaction that guards it, so it is freed only when that transaction has ended. Release it after the commit: begin the transaction inside of run(), or put @Locked() above @Transactional().`,
  listenerFailed: (event: string, error: unknown) =>
    `A listener of the lock event "${event}" failed: ${describe(error)}`,
  callbackFailed: (key: string, error: unknown) =>
    `The onLost callback of lock "${key}" failed: ${describe(error)}`,
};

const WARNINGS = { ...EACH_TIME, ...ONCE_A_MINUTE };
type Warnings = typeof WARNINGS;

/** Writes the log lines and warnings of one lock module. It never logs an owner id. */
export class LockLogger {
  readonly #logger: Logger;
  /** When the last warning of each topic was logged. */
  readonly #warned = new Map<string, number>();
  /**
   * What a warning about a lock inside a transaction was logged for: decorated methods, and
   * keys of other calls.
   */
  readonly #insideTransaction = { methods: new Set<string>(), keys: new Set<string>() };
  /**
   * For each key, when a line about a tick that had run already was logged, and how many such
   * ticks came since then.
   */
  readonly #ticksDone = new Map<string, { at: number; count: number }>();

  constructor(
    private readonly moduleName: string,
    private readonly clock: Clock,
  ) {
    this.#logger = new Logger(moduleName === 'default' ? 'LockModule' : `LockModule:${moduleName}`);
  }

  listen(events: LockEvents): void {
    events.on('lost', ({ error }) => this.warn('lost', error));
    events.on('busy', ({ key, holder, reason }) => {
      if (!Logger.isLevelEnabled('debug')) return;
      if (reason === 'tick-done') this.#tickDone(key);
      else this.#say('debug', `Lock "${key}" is busy${holder?.label ? `: held by ${holder.label}` : ''}.`);
    });
    events.on('tickAhead', ({ key, tick }) => this.warn('tickAhead', key, tick));
    events.on('tickIgnored', ({ key, tick }) => this.warn('tickIgnored', key, tick));
    events.on('renewFailed', ({ key, error }) => this.warn('renewFailed', key, error));
    events.on('storeError', ({ key, operation, error }) =>
      this.warn('storeFailed', `${operation} of lock "${key}"`, error),
    );
  }

  warn<Name extends keyof Warnings>(name: Name, ...values: Parameters<Warnings[Name]>): void {
    if (name in ONCE_A_MINUTE) {
      const topic = typeof values[0] === 'string' ? `${name} ${values[0]}` : name;
      const now = this.clock.now();
      if (now - (this.#warned.get(topic) ?? -Infinity) < REPEAT_AFTER) return;
      remember(this.#warned, topic, now);
    }
    const text = WARNINGS[name] as (...values: unknown[]) => string;
    this.#say('warn', text(...values));
  }

  started(jobs: string[], store: string | undefined): void {
    const list =
      jobs.length === 0
        ? 'no decorated methods'
        : `${jobs.length} locked ${jobs.length === 1 ? 'method' : 'methods'}: ${jobs.join(', ')}`;
    this.#say('log', store ? `${list} ${store}` : list);
  }

  disabled(): void {
    const where = this.moduleName === 'default' ? '' : ` for the module "${this.moduleName}"`;
    this.#say(
      'warn',
      `LOCKING IS DISABLED${where}: everything runs unlocked in this process. Other instances follow their own settings. Enable it with LockService.enable() or { enabled: true }.`,
    );
  }

  forceReleased(key: string, reason: string, released: boolean): void {
    if (released) this.#say('warn', `Lock "${key}" was force-released: ${reason}`);
    else this.#say('log', `Lock "${key}" was to be force-released, but it was not held: ${reason}`);
  }

  resumed(key: string): void {
    this.#say('log', `Lock "${key}" is no longer paused.`);
  }

  /**
   * Warns of a lock inside a transaction: once for each decorated method, and once for each
   * key of other calls.
   */
  insideTransaction(key: string, job: string | undefined): void {
    const { methods, keys } = this.#insideTransaction;
    const warned = job === undefined ? keys : methods;
    if (warned.has(job ?? key) || (warned === keys && keys.size >= KEYS_INSIDE_TRANSACTIONS)) return;
    warned.add(job ?? key);
    this.#say(
      'warn',
      `${job ?? 'A call'} takes the lock "${key}" inside an open transaction. The lock is released before the commit, so its next holder does not see the changes. And the transaction keeps its connection while the call waits for the lock. ${
        job === undefined
          ? 'Take the lock first, and begin the transaction under it.'
          : 'Put @Locked() above @Transactional(); if a caller of the method begins the transaction, take the lock there.'
      }`,
    );
  }

  releasedInTransaction(key: string, job: string | undefined): void {
    const { methods, keys } = this.#insideTransaction;
    // Do not warn again: an earlier warning has named the cause, that the lock is taken inside
    // a transaction.
    if (job === undefined ? keys.has(key) : methods.has(job)) return;
    this.warn('releasedInTransaction', key, job);
  }

  /**
   * Logs that another instance has run a tick. At each tick, all instances but one call this,
   * so it logs one line a minute with the number of ticks.
   */
  #tickDone(key: string): void {
    const now = this.clock.now();
    const since = this.#ticksDone.get(key);
    const count = (since?.count ?? 0) + 1;
    if (since && now - since.at < REPEAT_AFTER) {
      since.count = count;
      return;
    }
    remember(this.#ticksDone, key, { at: now, count: 0 });
    this.#say('debug', `Lock "${key}": tick already done${count > 1 ? `, ${count} times` : ''}.`);
  }

  /**
   * Logs a text with its control characters escaped: a key, a label or a reason with a newline
   * could otherwise forge a line of the log.
   */
  #say(level: 'warn' | 'log' | 'debug', message: string): void {
    this.#logger[level](message.replaceAll(/\p{Cc}/gu, escaped));
  }
}

/**
 * Sets the value of a topic. If there are too many topics, it forgets the oldest: each key may
 * have a topic, and keys may be made from ids.
 */
function remember<T>(topics: Map<string, T>, topic: string, value: T): void {
  topics.delete(topic);
  topics.set(topic, value);
  if (topics.size > REMEMBERED) topics.delete(topics.keys().next().value ?? topic);
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return typeof error === 'string' ? error : show(error);
  return error.cause instanceof Error ? `${error.message} (${error.cause.message})` : error.message;
}

function escaped(character: string): string {
  if (character === '\n') return '\\n';
  return `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`;
}
