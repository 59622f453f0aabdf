import { Logger } from '@nestjs/common';
import type { Clock } from './clock.js';
import type { LockEvents } from '../lock.events.js';
import { show } from '../error-text.js';

const REPEAT_AFTER = 60_000;
const REMEMBERED = 1_000;
/** Keys may be made from ids, and one mistake must not give a warning for each of them. */
const KEYS_INSIDE_TRANSACTIONS = 10;

/** Tells people what happens, once for each key and minute where it could repeat. No owner id is ever logged. */
export class LockLogger {
  readonly #logger: Logger;
  readonly #warned = new Map<string, number>();
  /** The methods, and the keys of other calls, that were warned of. */
  readonly #insideTransaction = { methods: new Set<string>(), keys: new Set<string>() };
  /** How often an event has happened since the line that was logged about it. */
  readonly #counts = new Map<string, { at: number; count: number }>();

  constructor(
    private readonly moduleName: string,
    private readonly clock: Clock,
  ) {
    this.#logger = new Logger(moduleName === 'default' ? 'LockModule' : `LockModule:${moduleName}`);
  }

  listen(events: LockEvents): void {
    events.on('lost', ({ error }) =>
      this.#say(
        'warn',
        `${error.message} The work under it goes on unless it looks at lock.held or lock.signal.`,
      ),
    );
    events.on('busy', ({ key, holder, reason }) => {
      if (!Logger.isLevelEnabled('debug')) return;
      if (reason === 'tick-done') this.#tickDone(key);
      else this.#say('debug', `Lock "${key}" is busy${holder?.label ? `: held by ${holder.label}` : ''}.`);
    });
    events.on('tickAhead', ({ key, tick }) =>
      this.#warn(
        `tick ahead ${key}`,
        `The tick ${tick.toISOString()} of lock "${key}" is too far ahead of the database's clock to be recorded. The method runs, but other instances may run this tick too. Set the clock of this machine.`,
      ),
    );
    events.on('tickIgnored', ({ key, tick }) =>
      this.#warn(
        `tick ignored ${key}`,
        `The recorded tick ${tick.toISOString()} of lock "${key}" is too far ahead of the database's clock, and is ignored. Set the clocks of the instances and of the database.`,
      ),
    );
    events.on('renewFailed', ({ key, error }) =>
      this.#warn(
        `renew ${key}`,
        `Lock "${key}" could not be renewed, and is tried again: ${describe(error)}`,
      ),
    );
    events.on('storeError', ({ key, operation, error }) =>
      this.#warn(`${operation} ${key}`, `The ${operation} of lock "${key}" failed: ${describe(error)}`),
    );
  }

  started(jobs: string[], store: string | undefined): void {
    const list =
      jobs.length === 0
        ? 'no decorated methods'
        : `${jobs.length} locked ${jobs.length === 1 ? 'method' : 'methods'}: ${jobs.join(', ')}`;
    this.#say('log', store ? `${list} ${store}` : list);
  }

  noScheduler(methods: string[]): void {
    this.#say(
      'warn',
      `${methods.join(', ')}: the application has no scheduler, so nothing calls ${methods.length === 1 ? 'this method' : 'these methods'}. Import ScheduleModule.forRoot() from @nestjs/schedule.`,
    );
  }

  severalSchedulers(count: number): void {
    this.#say(
      'warn',
      `The application has ${count} schedulers, so each tick calls each scheduled method ${count} times. Import ScheduleModule.forRoot() once, in the root module.`,
    );
  }

  disabled(): void {
    this.#say(
      'warn',
      `LOCKING IS DISABLED${this.moduleName === 'default' ? '' : ` for the module "${this.moduleName}"`}: everything runs unlocked in this process; other instances do as they are set. Enable it with LockService.enable() or { enabled: true }.`,
    );
  }

  enabled(): void {
    this.#say('warn', 'Locking is enabled again.');
  }

  /** @param ahead milliseconds by which the store's clock is ahead of this machine's */
  clocksDiffer(ahead: number): void {
    const seconds = (Math.abs(ahead) / 1000).toFixed(1);
    this.#say(
      'warn',
      `The clock of this machine is ${seconds} s ${ahead > 0 ? 'behind' : 'ahead of'} the clock of the lock store. While locking is disabled, fencing tokens come from this machine's clock: after locking is disabled or enabled, fenced writes may be refused for that long. Synchronize both clocks with a time server.`,
    );
  }

  clockUnread(error: unknown): void {
    this.#warn(
      'clock',
      `The clock of the lock store could not be read, so it was not compared with the clock of this machine: ${describe(error)}`,
    );
  }

  minifiedKeys(keys: string[]): void {
    this.#say(
      'warn',
      `A minifier seems to have changed the class names in these default keys: ${keys.join(', ')}. The next build may change them again. Then two builds exclude each other for the wrong methods, or not at all. Give the methods keys, @Locked('…'), or let the build keep class names. The option requireKeys refuses default keys.`,
    );
  }

  minifiedTicks(methods: string[]): void {
    this.#say(
      'warn',
      `A minifier seems to have changed the class names of these scheduled methods: ${methods.join(', ')}. The lock store keeps their ticks under these names. If the next build changes them again, both builds may run the same tick. Let the build keep class names.`,
    );
  }

  noShutdownHooks(): void {
    this.#say(
      'warn',
      'Nothing listens for SIGTERM: locks that are held when the process is stopped stay until their ttl ends. Call app.enableShutdownHooks().',
    );
  }

  forceReleased(key: string, reason: string, released: boolean): void {
    if (released) this.#say('warn', `Lock "${key}" was force-released: ${reason}`);
    else this.#say('log', `Lock "${key}" was to be force-released, but nobody held it: ${reason}`);
  }

  paused(key: string): void {
    this.#say('warn', `Lock "${key}" is paused: no instance gets it until it is resumed.`);
  }

  resumed(key: string): void {
    this.#say('log', `Lock "${key}" is not paused any more.`);
  }

  statusFileFailed(path: string, error: unknown): void {
    this.#warn('statusFile', `The status file ${path} could not be written: ${describe(error)}`);
  }

  purgeFailed(error: unknown): void {
    this.#warn('purge', `The scheduled purge failed, and is tried again: ${describe(error)}`);
  }

  storeWarning(topic: string, message: string): void {
    this.#warn(`store ${topic}`, message);
  }

  unusedStream(key: string): void {
    this.#warn(
      `unused ${key}`,
      `The stream that a handler returned under lock "${key}" was used by nobody for a ttl. The lock is released; subscribe to it sooner.`,
    );
  }

  transactionHangs(key: string, open: number): void {
    this.#warn(
      `transaction ${key}`,
      `The transaction under lock "${key}" has been open for ${open / 1000} s. While it lasts nobody else gets what it has locked, in some databases also after the lock has ended. Look for work in it that waits, and set a time limit on its statements.`,
    );
  }

  /** Warns once for each method; for calls without a method, once for each key. */
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

  transactionsUnknown(error: unknown): void {
    this.#warn(
      'transactions',
      `Could not find out whether a transaction is open, so locks inside transactions of this library are no longer warned of: ${describe(error)}`,
    );
  }

  releasedInTransaction(key: string, job: string | undefined): void {
    const { methods, keys } = this.#insideTransaction;
    if (job === undefined ? keys.has(key) : methods.has(job)) return; // that warning names the cause
    this.#warn(
      `guarded ${key}`,
      `Lock "${key}"${job ? ` of ${job}` : ''} was released inside the transaction that guards it, so it is freed only when that transaction has ended. Release it after the commit: begin the transaction inside of run(), or put @Locked() above @Transactional().`,
    );
  }

  listenerFailed(event: string, error: unknown): void {
    this.#warn(`listener ${event}`, `A listener of the lock event "${event}" failed: ${describe(error)}`);
  }

  callbackFailed(error: unknown, key: string): void {
    this.#warn(`onLost ${key}`, `The onLost callback of lock "${key}" failed: ${describe(error)}`);
  }

  /**
   * Each tick ends like this in every instance but one, so one line counts the ticks of a
   * minute.
   */
  #tickDone(key: string): void {
    const [topic, now] = [`tick done ${key}`, this.clock.now()];
    const since = this.#counts.get(topic);
    const count = (since?.count ?? 0) + 1;
    if (since && now - since.at < REPEAT_AFTER) {
      since.count = count;
      return;
    }
    remember(this.#counts, topic, { at: now, count: 0 });
    this.#say('debug', `Lock "${key}": tick already done${count > 1 ? `, ${count} times` : ''}.`);
  }

  /** Keys, labels and reasons are what users make them: one with a newline must not look like a line of its own. */
  #say(level: 'warn' | 'log' | 'debug', message: string): void {
    this.#logger[level](message.replaceAll(/\p{Cc}/gu, escaped));
  }

  #warn(topic: string, message: string): void {
    const now = this.clock.now();
    if (now - (this.#warned.get(topic) ?? -Infinity) < REPEAT_AFTER) return;
    remember(this.#warned, topic, now);
    this.#say('warn', message);
  }
}

/**
 * Sets the value of a topic, and forgets the oldest topic: there may be one for each key, and
 * keys may be made from ids.
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
