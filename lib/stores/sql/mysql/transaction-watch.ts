import { sessionOf, type Mysql2Connection } from './mysql2-driver.js';

const WATCH: unique symbol = Symbol('nestjs-locked: whether the transaction is open');

/**
 * The members of mysql2's connection that a watch needs to observe the answers to statements.
 */
export interface WatchedConnection extends Mysql2Connection {
  addCommand(command: Command): Command;
  /** The pool of the connection; null after the connection has ended. */
  readonly _pool?: unknown;
  release?(): void;
  [WATCH]?: TransactionWatch | undefined;
}

/**
 * A statement of the application. mysql2 calls `execute` first without a packet, and then with
 * each packet of the answer.
 */
interface Command {
  on(event: 'result', listener: (result: object) => void): void;
  execute(packet: Packet | undefined, connection: unknown): unknown;
}

interface Packet {
  isEOF(): boolean;
  eofStatusFlags(): number;
}

/**
 * Returns a function that reports whether the transaction on this connection is still open.
 * mysql2 does not keep the session's status. So a watch observes the answers to the
 * application's statements, until the transaction ends or the connection goes back to the
 * pool.
 */
export function watchMysqlTransaction(connection: WatchedConnection): () => boolean {
  const watch = (connection[WATCH] ??= new TransactionWatch(connection));
  return () => watch.isOpen && Boolean(poolOf(connection));
}

/** Returns the pool of a connection, or null after the connection has ended. */
function poolOf({ _pool: pool }: WatchedConnection): unknown {
  return pool;
}

class TransactionWatch {
  isOpen = true;
  private wasSeen = false;
  private readonly restore: (() => void)[] = [];

  constructor(private readonly connection: WatchedConnection) {
    const addCommand = connection.addCommand.bind(connection);
    const release = connection.release?.bind(connection);
    this.replace('addCommand', (command) => {
      if (this.isOpen) this.observe(command);
      return addCommand(command);
    });
    this.replace('release', () => {
      this.end();
      release?.();
    });
  }

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
    // Without autocommit, a transaction begins only with its first statement. So its end
    // counts only after an answer from inside of it.
    if (!inTransaction && (autocommit || this.wasSeen)) this.end();
  }

  private end(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.connection[WATCH] = undefined;
    for (const restore of this.restore) restore();
  }

  /** Replaces a method of the connection until the watch ends. */
  private replace<Name extends 'addCommand' | 'release'>(
    name: Name,
    replacement: NonNullable<WatchedConnection[Name]>,
  ): void {
    const { connection } = this;
    const own = Object.getOwnPropertyDescriptor(connection, name);
    connection[name] = replacement;
    this.restore.push(() => {
      // Another library has replaced the method after the watch did.
      if (connection[name] !== replacement) return;
      if (own) Object.defineProperty(connection, name, own);
      else Reflect.deleteProperty(connection, name);
    });
  }
}
