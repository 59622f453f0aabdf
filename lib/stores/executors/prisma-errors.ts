/** An error of a driver, as Prisma's driver adapters report it. */
interface AdapterError {
  kind?: unknown;
  /**
   * The server's code: four digits from MySQL and MariaDB, five characters from PostgreSQL.
   */
  originalCode?: string;
  originalMessage?: unknown;
  code?: number | string;
  message?: unknown;
  severity?: unknown;
  state?: unknown;
}

/** The members of Prisma's errors from which the driver's error is read. */
interface PrismaError {
  code?: unknown;
  message?: unknown;
  meta?: { driverAdapterError?: { cause?: AdapterError } };
}

/** Codes of Node for errors of which Prisma's adapters keep only the kind. */
const KINDS: Record<string, string> = {
  DatabaseNotReachable: 'ECONNREFUSED',
  ConnectionClosed: 'ECONNRESET',
  SocketTimeout: 'ETIMEDOUT',
};
/**
 * Codes of drivers for Prisma's own codes, such as P2028: the transaction could not begin.
 */
const CODES: Record<string, string> = {
  P1001: 'ECONNREFUSED',
  P1002: 'ETIMEDOUT',
  P1008: 'ETIMEDOUT',
  P1017: 'ECONNRESET',
  P2024: 'ETIMEDOUT',
  P2028: 'ETIMEDOUT',
  P2034: '40001', // a conflict of transactions
};

/** Codes of Node for errors of the driver mariadb, whose numbers no server sends. */
const MARIADB_CODES: Record<string, string> = {
  45001: 'ECONNRESET', // from here on, the connection or its socket is closed
  45004: 'ECONNRESET',
  45009: 'ECONNRESET',
  45013: 'ECONNRESET',
  45019: 'ECONNRESET',
  45027: 'ECONNRESET', // the pool is closed
  45035: 'ECONNRESET',
  45037: 'ECONNRESET',
  45012: 'ETIMEDOUT', // from here on, there was no connection or no answer in time
  45026: 'ETIMEDOUT',
  45028: 'ETIMEDOUT',
  45039: 'ETIMEDOUT',
  45042: 'ETIMEDOUT',
  45061: 'ETIMEDOUT',
};

/**
 * Returns the driver's error behind an error of Prisma, with the driver's codes. Prisma's own
 * error is not shown, since it repeats the statement with its values.
 */
export function driverErrorOf(error: unknown): unknown {
  const { code, message, meta } = Object(error) as PrismaError;
  const adapterError = meta?.driverAdapterError?.cause;
  if (adapterError) return fromAdapter(adapterError);
  if (typeof code !== 'string' || !/^P\d{4}$/.test(code)) return error;
  const lines = String(message).trim().split('\n');
  return Object.assign(new Error(lines.at(-1)), { code: CODES[code] ?? code });
}

function fromAdapter(found: AdapterError): Error {
  const { kind, originalCode, code = originalCode, originalMessage, message, severity, state } = found;
  const error = new Error(String(originalMessage ?? message ?? kind));
  if (code === undefined) return Object.assign(error, { code: KINDS[String(kind)] });
  const lost = MARIADB_CODES[String(code)];
  if (lost) return Object.assign(error, { code: lost });
  if (/^\d{4}$/.test(String(code)))
    return Object.assign(error, { errno: Number(code), sqlState: state ?? 'HY000' });
  return Object.assign(error, { code, severity: severity ?? 'ERROR' });
}
