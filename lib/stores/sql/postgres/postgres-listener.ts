import { randomBytes } from 'node:crypto';
import { OPERATION_LIMIT, TimeLimit } from '../../shared/time-limit.js';
import type { PostgresLink } from './postgres-link.js';

const SHORTEST_PAUSE = 1_000;
const LONGEST_PAUSE = 60_000;
const QUIT_LIMIT = 1_000;
/** Milliseconds between two checks, while calls wait, that the server is still the writer. */
const LOOK_EVERY = 5_000;

/**
 * Hears by LISTEN for which keys this process is called, on a connection of its own that is made when somebody first waits.
 *
 * Nothing depends on it: while there is no connection, or a pooler in between, which has no sessions to listen with, those who wait ask from time to time.
 */
export class PostgresListener {
  /** Where this process, and no other, is called. It stands in the rows of the keys that it waits for, so it is short. */
  readonly channel = `nl${randomBytes(6).toString('base64url')}`;
  #link: PostgresLink | undefined;
  #opening: Promise<void> | undefined;
  #abandoned = new AbortController();
  #pause = SHORTEST_PAUSE;
  #notBefore = 0;
  #lookAt = 0;
  #closed = false;

  /** @param heard gets the key; nothing when the connection has ended, and calls may have been missed */
  constructor(
    private readonly connect: (abandoned: AbortSignal) => Promise<PostgresLink>,
    private readonly heard: (key?: string) => void,
  ) {}

  /** Whether calls arrive. If not, it sees to it that they soon do. */
  listens(): boolean {
    if (this.#link) {
      if (performance.now() >= this.#lookAt) void this.#look(this.#link);
      return true;
    }
    if (!this.#closed && performance.now() >= this.#notBefore)
      this.#opening ??= this.#open().finally(() => (this.#opening = undefined));
    return false;
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (this.#opening) this.#abandoned.abort(); // it may be on its way to a server that says nothing
    await this.#opening;
    const link = this.#link;
    this.#link = undefined;
    if (link) await leave(link);
  }

  async #open(): Promise<void> {
    const { signal } = (this.#abandoned = new AbortController());
    const timeLimit = new TimeLimit(OPERATION_LIMIT);
    let link: PostgresLink | undefined;
    try {
      link = await this.connect(signal);
      signal.addEventListener('abort', () => link?.destroy());
      // Asked first: in a session of a pooler, which others get next, nothing is to be left behind.
      const { pid, writer } = await timeLimit.race(serverOf(link));
      if (pid !== link.pid) this.#closed = true; // a pooler: it would be like this for ever
      if (this.#closed) return await leave(link);
      if (!writer) throw new Error('The server takes no writes');
      await timeLimit.race(link.run(`LISTEN "${this.channel}"`));
      this.#begin(link);
    } catch {
      link?.destroy();
      this.#notBefore = performance.now() + this.#pause;
      this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
    } finally {
      timeLimit.end();
    }
  }

  /**
   * Closes the connection if its server was demoted. Such a server may keep its connections,
   * but releases notify on the new writer, where the next connection leads.
   */
  async #look(link: PostgresLink): Promise<void> {
    this.#lookAt = performance.now() + LOOK_EVERY;
    const timeLimit = new TimeLimit(OPERATION_LIMIT);
    try {
      const { writer } = await timeLimit.race(serverOf(link, this.channel));
      if (!writer) link.destroy();
    } catch {
      link.destroy(); // the server has not answered
    } finally {
      timeLimit.end();
    }
  }

  #begin(link: PostgresLink): void {
    link.unref(); // who waits has a timer that keeps the process alive
    link.onNotification((key) => this.heard(key));
    this.#link = link;
    this.#lookAt = performance.now() + LOOK_EVERY;
    this.#pause = SHORTEST_PAUSE;
    link.onEnd(() => {
      if (this.#link !== link) return;
      this.#link = undefined;
      this.heard();
    });
  }
}

/**
 * The process of the server for this connection, and whether the server takes writes.
 *
 * @param channel where the connection listens: pg_stat_activity shows it in the last statement
 */
async function serverOf(link: PostgresLink, channel?: string): Promise<{ pid: number; writer: boolean }> {
  const listens = channel === undefined ? '' : ` /* after LISTEN "${channel}" */`;
  const { rows } = await link.run(
    `SELECT pg_backend_pid() AS pid, current_setting('transaction_read_only') AS read_only${listens}`,
  );
  return { pid: Number(rows[0]?.pid), writer: rows[0]?.read_only !== 'on' };
}

/** A link that is dead never says goodbye. */
async function leave(link: PostgresLink): Promise<void> {
  const timeLimit = new TimeLimit(QUIT_LIMIT);
  try {
    await timeLimit.race(link.quit());
  } catch {
    link.destroy();
  } finally {
    timeLimit.end();
  }
}
