import { LockStoreError } from '../../../lock.errors.js';
import type { Answer } from '../lock-statements.js';
import { isServerAnswer } from '../store-failure.js';
import { OPERATION_LIMIT, TimeLimit } from '../../shared/time-limit.js';

/** A driver's connection, whichever driver it is. */
export interface SessionLink {
  run(sql: string): Promise<Answer>;
  /** Takes leave of the server. */
  quit(): Promise<unknown>;
  /** Closes the socket at once, also of a link that is dead. */
  destroy(): void;
  /** Calls back when the server, or the network, has ended it; more than once, maybe. */
  onEnd(listener: (reason: string) => void): void;
}

/** Knows when a driver's connection ends: by what the driver says first, or by its socket. */
export class ConnectionEnd {
  #reason = 'the server or the network closed it';
  #over = false;
  #listener: ((reason: string) => void) | undefined;

  /** Listens to the driver's `error` event, which would end the process if no listener did. */
  readonly failed = (error: Error): void => {
    this.#reason = error.message;
    this.closed();
  };

  readonly closed = (): void => {
    this.#over = true;
    this.#listener?.(this.#reason);
  };

  /** Calls back when the connection ends, or now if it has; perhaps more than once. */
  readonly onEnd = (listener: (reason: string) => void): void => {
    this.#listener = listener;
    if (this.#over) listener(this.#reason);
  };
}

const QUIT_LIMIT = 1_000;

/** One connection of the store's own. What has once failed is not used again. */
export class LockSession {
  /** Told once when it ends without having been asked to. */
  onEnd: ((reason: string) => void) | undefined;
  #ended = false;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly link: SessionLink,
    private readonly answerLimit: number,
    /** By which the server knows it, and nobody else's. */
    readonly id: string,
  ) {
    link.onEnd((reason) => this.#end(reason));
  }

  /**
   * Begins to use a connection.
   *
   * @param answerLimit milliseconds for each answer; a connection that has not answered by then has ended
   * @param prepare checks it and gives its id; when it rejects, the connection is closed
   */
  static async begin(
    link: SessionLink,
    answerLimit: number,
    prepare: () => Promise<string>,
  ): Promise<LockSession> {
    const timeLimit = new TimeLimit(OPERATION_LIMIT);
    try {
      return new LockSession(link, answerLimit, await timeLimit.race(prepare()));
    } catch (error) {
      link.destroy();
      throw error;
    } finally {
      timeLimit.end();
    }
  }

  get ended(): boolean {
    return this.#ended;
  }

  /**
   * Runs one statement, after those that are under way.
   *
   * @param wait milliseconds for which the server may wait before it answers
   */
  async run(sql: string, wait = 0): Promise<Answer> {
    const timeLimit = new TimeLimit(wait + this.answerLimit);
    const before = this.#last;
    const answer = before.then(async () => this.link.run(sql));
    this.#last = answer.catch(() => undefined);
    try {
      return await timeLimit.race(answer);
    } catch (error) {
      if (!isServerAnswer(error)) this.#end(error instanceof Error ? error.message : 'it failed');
      throw error;
    } finally {
      timeLimit.end();
    }
  }

  /** Ends it: its lock, if it has one, is gone as soon as the server notices. */
  async quit(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    const timeLimit = new TimeLimit(QUIT_LIMIT);
    try {
      await timeLimit.race(this.link.quit());
    } catch {
      // The server is told by the socket, then.
    } finally {
      timeLimit.end();
      this.link.destroy();
    }
  }

  #end(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.link.destroy();
    this.onEnd?.(reason);
  }
}

/**
 * The error for a server that takes no writes: a replica, or a writer that was demoted in a
 * switchover that left its connections open. The new writer does not know the session locks of
 * this server. So they are refused, and held ones count as lost.
 */
export function onDemotedServer(): LockStoreError {
  return new LockStoreError(
    'This server is read-only: it is a replica, or a writer that was demoted. Its session locks exclude no session on the writer. Connect to the writer.',
    { transient: true },
  );
}
