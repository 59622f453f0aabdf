import { sessionOf, type Mysql2Connection } from './mysql2-driver.js';

const WATCH: unique symbol = Symbol('nestjs-locked: whether the transaction is open');

/** The members of mysql2's connection by which its answers are observed. */
export interface WatchedConnection extends Mysql2Connection {
  addCommand(command: Command): Command;
  /** The pool; null when the connection has ended. */
  readonly _pool?: unknown;
  /** When the pool got it back last. */
  readonly lastActiveTime?: number;
  [WATCH]?: TransactionWatch | undefined;
}

/** A command of mysql2. It receives each packet of its answer, and none at the first call. */
interface Command {
  on(event: 'result', listener: (result: object) => void): void;
  execute(packet: Packet | undefined, connection: unknown): unknown;
}

interface Packet {
  isEOF(): boolean;
  eofStatusFlags(): number;
}

/**
 * Gives a function that reports whether the transaction on this connection is still open.
 * mysql2 keeps no status. So until the transaction ends, the answers to the commands of the
 * application are observed.
 */
export function watchMysqlTransaction(connection: WatchedConnection): () => boolean {
  const watch = (connection[WATCH] ??= new TransactionWatch(connection));
  const { lastActiveTime } = connection;
  return () => {
    const { _pool: pool, lastActiveTime: now } = connection;
    return watch.isOpen && Boolean(pool) && now === lastActiveTime;
  };
}

class TransactionWatch {
  isOpen = true;
  private wasSeen = false;
  private readonly before: WatchedConnection['addCommand'];

  constructor(private readonly connection: WatchedConnection) {
    this.before = connection.addCommand.bind(connection);
    connection.addCommand = this.added;
  }

  private readonly added = (command: Command): Command => {
    if (this.isOpen) this.observe(command);
    return this.before(command);
  };

  private observe(command: Command): void {
    command.on('result', (result) => {
      const { affectedRows, serverStatus } = result as Record<string, unknown>;
      if (affectedRows !== undefined && typeof serverStatus === 'number') this.answered(serverStatus);
    });
    const execute = command.execute.bind(command);
    command.execute = (packet, from) => {
      if (packet?.isEOF()) this.answered(packet.eofStatusFlags());
      return execute(packet, from);
    };
  }

  private answered(status: number): void {
    const { inTransaction, autocommit } = sessionOf(status);
    this.wasSeen ||= inTransaction;
    // Without autocommit, the next statement begins a transaction.
    if (inTransaction || (!autocommit && !this.wasSeen)) return;
    this.isOpen = false;
    this.connection[WATCH] = undefined;
    // A connection that ends replaces the method for good.
    if (this.connection.addCommand === this.added) this.connection.addCommand = this.before;
  }
}
