import { LockError, LockStoreError } from '../../lock.errors.js';
import { loadPackage } from '../shared/opening.js';
import { kindOf } from '../sql/client-kinds.js';
import type { SqlResult, StatementExecutor, TransactionOptions } from '../sql/sql-executor.js';
import { driverErrorOf } from './prisma-errors.js';

/** The members of a PrismaClient that the executor uses. An extended client has them too. */
export interface PrismaClientLike {
  $queryRawUnsafe(sql: string, ...values: unknown[]): PromiseLike<unknown>;
  $executeRawUnsafe(sql: string, ...values: unknown[]): PromiseLike<number>;
  $transaction(...args: never): PromiseLike<unknown>;
}

/** The object that `prisma.$transaction(work)` gives to `work`: Prisma.TransactionClient. */
export type PrismaTransaction<Prisma> = Prisma extends {
  $transaction(work: (transaction: infer Transaction) => never, ...rest: never): unknown;
}
  ? Transaction
  : never;

/** The members of a PrismaClient that the executor uses, even if they are not public. */
interface Client extends Pick<PrismaClientLike, '$queryRawUnsafe' | '$executeRawUnsafe'> {
  $transaction<T>(work: (transaction: never) => Promise<T>, options: object): Promise<T>;
  _engine?: unknown;
  _activeProvider?: unknown;
  _clientVersion?: unknown;
  _engineConfig?: { adapter?: Adapter };
}

/** The factory of a driver adapter. */
interface Adapter {
  adapterName?: unknown;
  config?: { host?: string; port?: number | string; database?: string; connectionString?: string };
  options?: { schema?: unknown };
}

/**
 * The state that Prisma keeps on the client of a transaction. The stack has the ids of open
 * transactions.
 */
interface Scope {
  scopeId: unknown;
  scopeState: { stack: unknown[] };
}

const SCOPE: unique symbol = Symbol.for('prisma.client.transaction.scope_context') as never;

/** The type of database for each provider of Prisma. */
const TYPES: Record<string, string> = { postgresql: 'postgres', mysql: 'mysql', sqlite: 'better-sqlite3' };

/**
 * Matches quoted texts and names in a statement. They are removed before the search for SQL
 * words, since a key may read like SQL.
 */
const QUOTED = /'[^']*'|"[^"]*"/g;
/** Matches statements that return rows. Prisma has another method for all other statements. */
const GIVES_ROWS = /^\s*(?:SET STATEMENT [^]*? FOR\s+)?(?:SELECT|WITH|SHOW|PRAGMA)\b|\bRETURNING\b/i;
const LEVELS = { 'READ COMMITTED': 'ReadCommitted' } as const;

/**
 * Runs SQL through a PrismaClient with a driver adapter: PrismaPg for PostgreSQL,
 * PrismaMariaDb for MariaDB, PrismaBetterSqlite3 for SQLite.
 *
 * Prisma lends no connection, so processes poll for a released key, and on MariaDB leases are
 * renewed one by one. `fromPg(pool)` has neither limit: prefer it where the application makes
 * the pool itself.
 *
 * @throws LockError for anything but a PrismaClient with a driver adapter
 * @publicApi
 */
export function fromPrisma<Prisma extends PrismaClientLike>(
  prisma: Prisma,
): StatementExecutor<PrismaTransaction<Prisma>> {
  assertClient(prisma);
  return new PrismaExecutor<PrismaTransaction<Prisma>>(prisma);
}

class PrismaExecutor<Transaction> implements StatementExecutor<Transaction> {
  readonly client = 'Prisma';
  readonly type: string;
  readonly description: string;
  readonly schema: string | undefined;

  constructor(private readonly prisma: Client) {
    const provider = String(prisma._activeProvider);
    const { config, options } = prisma._engineConfig?.adapter ?? {};
    this.type = TYPES[provider] ?? provider;
    this.description = `${this.type}${addressOf(config)}`;
    this.schema = typeof options?.schema === 'string' ? options.schema : undefined;
  }

  async query(sql: string, values: readonly unknown[]): Promise<SqlResult> {
    return send(this.prisma, sql, values);
  }

  async transaction<T>(
    work: (transaction: Transaction) => Promise<T>,
    { level, timeout }: TransactionOptions,
  ): Promise<T> {
    let thrown: { error: unknown } | undefined;
    try {
      // Prisma's defaults could be shorter than the timeout: 5 s, and 2 s to get a connection.
      return await this.prisma.$transaction(
        (transaction: Transaction) =>
          work(transaction).catch((error: unknown) => {
            thrown = { error };
            throw error;
          }),
        { timeout, maxWait: timeout, ...(level && { isolationLevel: LEVELS[level] }) },
      );
    } catch (error) {
      throw thrown ? thrown.error : driverErrorOf(error);
    }
  }

  /**
   * Opens another connection to the SQLite file, with the package that Prisma's adapter uses.
   */
  async createConnection(settings: object): Promise<unknown> {
    const { rows } = await this.query('PRAGMA database_list', []);
    const { default: Database } = await loadPackage(
      'fromPrisma() on SQLite',
      'better-sqlite3',
      'better-sqlite3',
      () => import('better-sqlite3'),
    );
    return new Database(String(rows.find(({ name }) => name === 'main')?.file), settings);
  }

  queryIn(transaction: unknown, doing: string): StatementExecutor['query'] {
    const scope = scopeOf(transaction);
    if (!scope)
      throw new LockError(
        `Could not ${doing}: it needs the client of an open transaction, as prisma.$transaction() passes it, but it got ${kindOf(transaction)}. For a transaction that the store begins, use lock.transaction().`,
      );
    if ((transaction as Client)._engine !== this.prisma._engine)
      throw new LockError(
        `Could not ${doing}: the transaction belongs to another PrismaClient than the locks. Pass that PrismaClient to fromPrisma(), or use lock.transaction().`,
      );
    if (!isOpen(scope))
      throw new LockError(
        `Could not ${doing}: the transaction has ended. Await the guard within prisma.$transaction().`,
      );
    return async (sql, values) => send(transaction as PrismaClientLike, sql, values);
  }

  watchTransaction(transaction: unknown): () => boolean {
    const scope = scopeOf(transaction);
    return () => scope !== undefined && isOpen(scope);
  }

  async close(): Promise<void> {}
}

async function send(prisma: PrismaClientLike, sql: string, values: readonly unknown[]): Promise<SqlResult> {
  try {
    if (!GIVES_ROWS.test(sql.replaceAll(QUOTED, '')))
      return { rows: [], affected: await prisma.$executeRawUnsafe(sql, ...values) };
    const rows = (await prisma.$queryRawUnsafe(sql, ...values)) as SqlResult['rows'];
    return { rows, affected: rows.length };
  } catch (error) {
    throw driverErrorOf(error);
  }
}

function scopeOf(transaction: unknown): Scope | undefined {
  return (Object(transaction) as { [SCOPE]?: Scope })[SCOPE];
}

function isOpen({ scopeId, scopeState }: Scope): boolean {
  return scopeState.stack.includes(scopeId);
}

function assertClient(prisma: unknown): asserts prisma is Client {
  const { $transaction, $queryRawUnsafe } = Object(prisma) as Partial<PrismaClientLike>;
  if (typeof $transaction !== 'function' || typeof $queryRawUnsafe !== 'function' || scopeOf(prisma))
    throw new LockError(
      `fromPrisma() needs a PrismaClient, but it got ${scopeOf(prisma) ? 'a transaction of Prisma' : kindOf(prisma)}. Pass the client that the application shares, such as its PrismaService.`,
    );
  const client = prisma as Client;
  if (isTooOld(client._clientVersion))
    throw new LockError(
      `fromPrisma() needs Prisma 7.5 or newer, but this PrismaClient is of Prisma ${String(client._clientVersion)}, whose transactions do not show whether they are open. Update Prisma, or give the locks a pool of their own: fromPg(pool).`,
    );
  if (!client._engineConfig?.adapter)
    throw new LockError(
      'fromPrisma() needs a PrismaClient with a driver adapter, such as new PrismaClient({ adapter: new PrismaPg({ connectionString }) }): through Prisma Accelerate, or an engine of its own, a statement cannot prove that it runs outside of a transaction. Pass such a client, or give the locks a client of their own: fromPg(pool).',
    );
  if (!(String(client._activeProvider) in TYPES))
    throw new LockStoreError(
      `fromPrisma() cannot keep locks in a database of Prisma's provider ${String(client._activeProvider)}. Supported are postgresql, mysql (with MariaDB) and sqlite.`,
    );
}

function isTooOld(version: unknown): boolean {
  const [major = 0, minor = 0] = String(version).split('.', 2).map(Number);
  return major < 7 || (major === 7 && minor < 5);
}

/** Host, port and name of the database. The rest of the configuration may hold a password. */
function addressOf(config: Adapter['config']): string {
  const { connectionString } = config ?? {};
  if (connectionString && URL.canParse(connectionString)) {
    const { hostname, port, pathname } = new URL(connectionString);
    return addressText(hostname, port, pathname.includes('@') ? undefined : pathname.slice(1));
  }
  return addressText(config?.host, config?.port, config?.database);
}

function addressText(host = '', port: number | string = '', database = ''): string {
  if (!host) return ' through Prisma';
  return ` at ${host}${port && `:${port}`}${database && `, database ${database}`}`;
}
