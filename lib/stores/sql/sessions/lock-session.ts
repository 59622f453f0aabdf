import { LockStoreError } from '../../../lock.errors.js';
import { inTime } from '../../shared/operation-limit.js';
import type { Answer } from '../lock-statements.js';
import { isServerAnswer } from '../store-failure.js';

/** A connection outside of the client's pool, through any driver. */
export interface SessionLink {
  send(sql: string): Promise<Answer>;
  /** Ends the session on the server, and then the connection. */
  quit(): Promise<unknown>;
  /** Closes the socket at once, even if the connection is dead. */
  destroy(): void;
  /**
   * Calls the listener when the server or the network has ended the connection. It may be
   * called more than once.
   */
  onEnd(listener: (reason: string) => void): void;
}

/** The members of a socket that onConnectionEnd() uses. */
interface LinkSocket {
  readonly destroyed: boolean;
  once(event: 'close', listener: () => void): void;
}

const CLOSED = 'the server or the network closed it';
const QUIT_LIMIT = 1_000;

/**
 * Calls the listener when a driver's connection ends: when the driver reports an error, or the
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

/** A connection for session locks. After a failure, the connection is not used again. */
export class LockSession {
  /** Called once with the reason when the connection ends, unless the store has ended it. */
  onEnd: ((reason: string) => void) | undefined;
  #ended = false;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly link: SessionLink,
    private readonly answerLimit: number,
    /** The id of this session on the server, which no other session ever gets. */
    readonly id: string,
  ) {
    link.onEnd((reason) => this.#end(reason));
  }

  /**
   * Begins to use a connection for session locks.
   *
   * @param answerLimit how many milliseconds the connection may take for an answer. If it
   * takes longer, it counts as ended
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

  /**
   * Ends the session. If it holds a lock, the lock becomes free as soon as the server notices
   * the end.
   */
  async quit(): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    // If the server does not answer, it notices the end when the socket closes.
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
 * the store refuses to take locks here, and held locks count as lost.
 */
export function onDemotedServer(): LockStoreError {
  return new LockStoreError(
    'This server is read-only: it is a replica, or a writer that was demoted. Its session locks exclude no session on the writer. Connect to the writer.',
    { transient: true },
  );
}
