import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { DataSource, type DataSourceOptions } from 'typeorm';

interface Message {
  event: 'waiting' | 'committed' | 'refused';
  token?: number;
}

/**
 * The results of all rounds. In each round, the holder of a lock is frozen for longer than its
 * ttl.
 */
export interface Findings {
  rounds: number;
  /**
   * Rounds in which the other process got the lock while the holder was frozen. In all other
   * rounds, the frozen holder blocked the other process with an open transaction or a locked
   * SQLite file.
   */
  takenOver: number;
  /** Rounds in which the database refused the write of the holder after the freeze. */
  refused: number;
  /** Rows with an older token that were committed after a row with a newer token. */
  late: number;
}

const TTL = 500;
/**
 * Milliseconds to wait for the other process to get the lock. This is twice the time after
 * which a server ends the transaction of a frozen holder.
 */
const PATIENCE = 3_000;

/**
 * Two processes that write rows under one lock. In each round, the holder is frozen at a
 * random moment.
 */
export class FrozenWriters {
  private readonly writers: Writer[] = [];
  /** The ids of all rows that earlier checks have found. */
  private readonly seen = new Set<string>();
  private newest = 0;

  private constructor(private readonly database: DataSource) {}

  static async start(options: DataSourceOptions, mode: 'guarded' | 'unguarded'): Promise<FrozenWriters> {
    const frozenWriters = new FrozenWriters(await new DataSource(options).initialize());
    await frozenWriters.database.query('CREATE TABLE written (id varchar(36) PRIMARY KEY, token bigint)');
    for (let i = 0; i < 2; i++) frozenWriters.writers.push(await Writer.start(options, mode));
    return frozenWriters;
  }

  async stop(): Promise<void> {
    await Promise.all(this.writers.map((writer) => writer.kill()));
    await this.database.destroy();
  }

  /** @param enough is checked after each round; `true` ends the play early */
  async play(rounds: number, enough?: (findings: Findings) => boolean): Promise<Findings> {
    const findings = { rounds: 0, takenOver: 0, refused: 0, late: 0 };
    for (let round = 1; round <= rounds; round++) {
      await this.playRound(findings);
      if (enough?.(findings)) break;
    }
    return findings;
  }

  private async playRound(findings: Findings): Promise<void> {
    const holder = await this.nextCommit();
    const other = this.writers.find((writer) => writer !== holder) as Writer;
    // In 100 ms, a writer makes a few transactions, so the freeze hits a random moment of one.
    await sleep(Math.random() * 100);
    const token = holder.token;
    holder.freeze();
    await sleep(TTL);
    const overtaken = await settled(other.next('committed'), PATIENCE);
    findings.late += await this.lateRows();
    holder.heard.length = 0;
    const isBack = holder.next('waiting');
    holder.goOn();
    findings.rounds++;
    // If the other process did not get the lock, the holder has lost nothing and goes on.
    if (!overtaken) return;
    await isBack;
    findings.takenOver++;
    findings.late += await this.lateRows();
    if (holder.heard.some((message) => message.event === 'refused' && message.token === token))
      findings.refused++;
  }

  /** Resolves to the writer that commits next. */
  private async nextCommit(): Promise<Writer> {
    return Promise.race(this.writers.map((writer) => writer.next('committed').then(() => writer)));
  }

  /**
   * Counts the rows committed since the last check whose token is older than the newest token
   * of that check.
   */
  private async lateRows(): Promise<number> {
    const rows: { id: string; token: unknown }[] = await this.database.query('SELECT id, token FROM written');
    const fresh = rows.filter(({ id }) => !this.seen.has(id));
    const late = fresh.filter(({ token }) => Number(token) < this.newest);
    for (const { id } of fresh) this.seen.add(id);
    this.newest = Math.max(this.newest, ...fresh.map(({ token }) => Number(token)));
    return late.length;
  }
}

class Writer {
  readonly heard: Message[] = [];
  /** The fencing token of the last commit of this writer. */
  token: number | undefined;
  private awaited: { event: Message['event']; come: () => void }[] = [];

  private constructor(private readonly child: ChildProcess) {
    child.on('message', (message: Message) => {
      this.heard.push(message);
      if (message.event === 'committed') this.token = message.token;
      const come = this.awaited.filter(({ event }) => event === message.event);
      this.awaited = this.awaited.filter(({ event }) => event !== message.event);
      for (const one of come) one.come();
    });
  }

  static async start(options: DataSourceOptions, mode: string): Promise<Writer> {
    const args = [JSON.stringify(options), String(TTL), mode];
    const writer = new Writer(fork('test/processes/frozen-writer.mjs', args, { execArgv: [] }));
    await writer.next('waiting');
    return writer;
  }

  /** Resolves when the writer sends the next message of this kind. */
  next(event: Message['event']): Promise<void> {
    return new Promise((come) => void this.awaited.push({ event, come }));
  }

  freeze(): void {
    this.child.kill('SIGSTOP');
  }

  goOn(): void {
    this.child.kill('SIGCONT');
  }

  async kill(): Promise<void> {
    const ended = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await ended;
  }
}

async function settled(promise: Promise<unknown>, patience: number): Promise<boolean> {
  const gaveUp = new AbortController();
  const late = sleep(patience, false, { signal: gaveUp.signal }).catch(() => false);
  try {
    return await Promise.race([promise.then(() => true), late]);
  } finally {
    gaveUp.abort();
  }
}
