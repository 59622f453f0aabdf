import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { DataSource, type DataSourceOptions } from 'typeorm';

interface Message {
  event: 'waiting' | 'committed' | 'refused';
  token?: number;
}

/** The result of freezing the holder of a lock for longer than its ttl, round after round. */
export interface Findings {
  rounds: number;
  /**
   * Rounds in which another process got the lock while the holder was frozen. In the other
   * rounds the holder was between its guard and its commit, or inside a SQLite file.
   */
  takenOver: number;
  /** Rounds in which a write of the holder was refused afterwards. */
  refused: number;
  /** Rows with an older token that were committed after a row with a newer token. */
  late: number;
}

const TTL = 500;
/**
 * Twice the time that a frozen holder can keep the lock where the server ends its transaction.
 */
const PATIENCE = 3_000;

/** Two processes that write under one lock. The holder is frozen at random moments. */
export class FrozenWriters {
  private readonly writers: Writer[] = [];
  /** The committed rows at the last check. */
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

  /** @param enough ends the play before all rounds */
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
    await sleep(Math.random() * 100); // a random moment of a few transactions
    const token = holder.token;
    holder.freeze();
    await sleep(TTL);
    const overtaken = await settled(other.next('committed'), PATIENCE);
    findings.late += await this.lateRows();
    holder.heard.length = 0;
    const isBack = holder.next('waiting');
    holder.goOn();
    findings.rounds++;
    if (!overtaken) return; // The holder goes on without noticing.
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
   * Counts the rows that were committed since the last check with an older token than known
   * then.
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
  /** The token of its last commit. */
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

  /** Resolves at the next message of this kind. */
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
