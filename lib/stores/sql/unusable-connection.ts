/**
 * The state of a connection on which no lock may be granted. Usually the application has left
 * the connection in this state. But `readOnly` and `rights` may also be faults of the server,
 * which every connection then has.
 */
export type ConnectionFault =
  | 'transaction'
  | 'aborted'
  | 'autocommit'
  | 'clock'
  | 'encoding'
  | 'lockedTables'
  | 'readOnly'
  | 'rights'
  | 'unseen';

/**
 * The application left a connection of its pool in a state in which the store cannot use it.
 * The store closes that connection and uses another one.
 */
export class UnusableConnectionError extends Error {
  constructor(
    readonly fault: ConnectionFault,
    cause?: unknown,
  ) {
    super(`The connection ${FAULTS[fault].found}`, { cause });
  }

  /** Returns the message for an operation that found no usable connection. */
  textFor(target: string): string {
    const { found, advice } = FAULTS[this.fault];
    return `each connection to ${target} that was tried ${found}. ${advice}`;
  }
}

/**
 * Two texts for the messages about each fault: the state of the connection, and where to look
 * for the cause.
 */
const FAULTS: Record<ConnectionFault, { found: string; advice: string }> = {
  transaction: {
    found: 'is in a transaction that the application left open',
    advice:
      'Look for a connection (a client of pg, a query runner of TypeORM) that was released after BEGIN without COMMIT or ROLLBACK, for example by an early return. Look also for a BEGIN that is not awaited.',
  },
  aborted: {
    found: 'is in a failed transaction that the application left open',
    advice:
      'Look for a connection (a client of pg, a query runner of TypeORM) that was released after a failed statement without ROLLBACK: roll back in the catch block, release in finally.',
  },
  autocommit: {
    found: 'has autocommit off',
    advice:
      'Look for SET autocommit = 0 in the application, SET GLOBAL autocommit = 0 and init_connect on the server: locks need autocommit = 1.',
  },
  clock: {
    found: 'has a clock that was set by SET timestamp',
    advice: 'Look for SET timestamp in the application, and end it with SET timestamp = DEFAULT.',
  },
  encoding: {
    found: 'has a client_encoding other than UTF8',
    advice: 'Look for SET client_encoding and SET NAMES in the application.',
  },
  lockedTables: {
    found: 'is under LOCK TABLES or FLUSH TABLES WITH READ LOCK',
    advice: 'Look in the application for one of these statements that no UNLOCK TABLES follows.',
  },
  readOnly: {
    found: 'takes no writes',
    advice:
      'The server is a replica, or the session was set to read-only. Look for SET SESSION TRANSACTION READ ONLY and default_transaction_read_only in the application, and in ALTER ROLE and ALTER DATABASE.',
  },
  rights: {
    found: 'lacks the rights on the lock table',
    advice: 'Look for SET ROLE and SET SESSION AUTHORIZATION in the application without a later RESET.',
  },
  unseen: {
    found: 'does not say whether it is in a transaction, in which no other session would see a lock',
    advice: 'Update pg to 8.21 or newer, and pg-native with it; or remove pg-native.',
  },
};

const CODES = new Map<unknown, ConnectionFault>([
  ['25P02', 'aborted'],
  ['42501', 'rights'],
  [1568, 'transaction'], // the server refuses to change the isolation level
  [1142, 'rights'],
  [1099, 'lockedTables'],
  [1100, 'lockedTables'],
  [1223, 'lockedTables'],
]);

/**
 * The text in PostgreSQL's error when a statement has found itself in a transaction, see
 * SELF_FOUND.
 */
export const IN_TRANSACTION = 'nestjs-locked: in a transaction of session';

/**
 * The errors of statements that have found themselves inside a transaction. If the client does
 * not show the status of the session, each statement checks it: on PostgreSQL it casts a text
 * that is no boolean, on MariaDB it computes a number that is out of range.
 */
const SELF_FOUND: readonly [code: string | number, text: string, fault: ConnectionFault][] = [
  ['22P02', IN_TRANSACTION, 'transaction'],
  [1690, '@@in_transaction', 'transaction'],
  [1690, '@@autocommit', 'autocommit'],
];

/**
 * Returns the fault of the connection that the error of a statement shows, if it shows one.
 */
export function faultOf(error: unknown): ConnectionFault | undefined {
  const { code, errno, message } = Object(error) as { code?: unknown; errno?: unknown; message?: unknown };
  if (error instanceof UnusableConnectionError) return error.fault;
  const found = SELF_FOUND.find(
    ([number, text]) => [code, errno].includes(number) && String(message).includes(text),
  );
  return found?.[2] ?? CODES.get(errno) ?? CODES.get(code);
}

/** Whether the server itself may have the fault, so that every other connection has it too. */
export function mayBeTheServers(fault: ConnectionFault): boolean {
  return fault === 'readOnly' || fault === 'rights' || fault === 'unseen';
}

/**
 * Returns the warning about a fault.
 *
 * @param reaction a clause that says what the store does now
 */
export function warningOf(
  fault: ConnectionFault,
  reaction = 'closed it and took another connection',
): string {
  const { found, advice } = FAULTS[fault];
  return `A connection of the pool ${found}. No lock is granted on such a connection, so the store ${reaction}. ${advice}`;
}
