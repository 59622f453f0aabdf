import { LockStoreError } from '../../../lock.errors.js';
import { inTime } from '../../shared/operation-limit.js';
import type { Answer } from '../lock-statements.js';
import { isServerAnswer } from '../store-failure.js';

/** A connection outside of the pool, for any driver. */
export interface SessionLink {
  send(sql: string): Promise<Answer>;
  /** Ends the session on the server, and then the connection. */
  quit(): Promise<unknown>;
  /** Closes the socket at once, even if the connection is dead. */
  destroy(): void;
  /**
   * Calls the listener, perhaps more than once, when the server or the network has ended the
   * connection.
   */
  onEnd(listener: (reason: string) => void): void;
}

/** The members of a connection's socket that are used here. */
interface LinkSocket {
  readonly destroyed: boolean;
  once(event: 'close', listener: () => void): void;
}

const CLOSED = 'the server or the network closed it';
const QUIT_LIMIT = 1_000;

/**
 * Calls the listener when a driver's connection ends, on an error of the driver or when its
 * socket closes.
 */
export function onConnectionEnd(
  connection: { on(event: 'error', listener: (error: Error) => void): void },
  socket: LinkSocket,
  listener: (reason: string) => void,
): void {
  connection.on('error', (error) => listener(error.message));
  socket.once('close', () => listener(CLOSED));
  if (socket.destroyed) listener(CLOSED);
}

/** A connection for session locks. A connection that has failed once is not used again. */
export class LockSession {
  /**
   * Receives the reason when the connection ends, unless the store has ended it. It is called
   * at most once.
   */
  onEnd: ((reason: string) => void) | undefined;
  #ended = false;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly link: SessionLink,
    private readonly answerLimit: number,
    /** Identifies this session, and no other, on the server. */
    readonly id: string,
  ) {
    link.onEnd((reason) => this.#end(reason));
  }

  /**
   * Begins to use a connection.
   *
   * @param answerLimit milliseconds for each answer. A connection that does not answer in time
   * counts as ended
   * @param prepare checks the connection and resolves to its id. If it rejects, the connection
   * is closed
   */
  static async begin(
    link: SessionLink,
    answerLimit: number,
    prepare: () => Promise<string>,
  ): Promise<LockSession> {
    try {
      return new LockSession(link, answerLimit, await inTime(prepare()));
    } catch (error) {
      link.destroy();
      throw error;
    }
  }

  get ended(): boolean {
    return this.#ended;
  }

  /**
   * Sends one statement, once all earlier statements have been answered.
   *
   * @param wait how many milliseconds the server may wait before it answers
   */
  async send(sql: string, wait = 0): Promise<Answer> {
    const answer = this.#last.then(async () => this.link.send(sql));
    this.#last = answer.catch(() => undefined);
    try {
      return await inTime(answer, wait + this.answerLimit);
    } catch (error) {
      if (!isServerAnswer(error)) this.#end(error instanceof Error ? error.message : 'it failed');
      throw error;
    }
  }

  /** Ends the session. Its lock, if it has one, becomes free as soon as the server notices. */
  async quit(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    // If that fails, the server notices the end when the socket closes.
    await inTime(this.link.quit(), QUIT_LIMIT).catch(() => undefined);
    this.link.destroy();
  }

  #end(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    this.link.destroy();
    this.onEnd?.(reason);
  }
}

/**
 * The error for a server that takes no writes: a replica, or a writer that was demoted but has
 * kept its connections open. The new writer does not know the session locks of this server. So
 * the store refuses them, and held locks count as lost.
 */
export function onDemotedServer(): LockStoreError {
  return new LockStoreError(
    'This server is read-only: it is a replica, or a writer that was demoted. Its session locks exclude no session on the writer. Connect to the writer.',
    { transient: true },
  );
}
