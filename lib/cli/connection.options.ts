import { Option, type Command } from 'commander';
import type { LockStore } from '../interfaces/lock-store.interface.js';
import { LockError } from '../lock.errors.js';
import type { LockService } from '../lock.service.js';
import { warn } from './output.js';
import { assertFileExists, parseStoreUrl, type StoreAddress } from './store-url.js';

/**
 * The options that every command has: which database, where its locks are, and how to print.
 */
export interface ConnectionOptions {
  url?: string;
  table?: string;
  schema?: string;
  database?: string;
  collection?: string;
  prefix?: string;
  weak?: true;
  json?: boolean;
}

export function addConnectionOptions(program: Command): void {
  const url = new Option(
    '--url <url>',
    'the database, as postgres://, mysql://, mariadb://, mongodb:// or sqlite:path/to/file; better in the environment: command lines show in the process list',
  ).env('LOCKS_URL');
  program
    .addOption(url)
    .option('--table <name>', 'the table of the locks (default: "locks")')
    .option('--schema <name>', 'the schema of the table in PostgreSQL, its database in MySQL and MariaDB')
    .option('--collection <name>', 'the collection of the locks in MongoDB (default: "locks")')
    .option(
      '--database <name>',
      'the database of the collection in MongoDB (default: the database in the URL)',
    )
    .option(
      '--weak',
      'for an application whose store has the option weak (default table or collection: "locks_weak")',
    )
    .option('--prefix <name>', 'the prefix that the LockModule of the application has')
    .option('--json', 'print results and errors as JSON, one object in each line');
}

/**
 * Runs `work` with the locks of a database, and then closes the connection. It never creates a
 * table. It loads Nest and the store only when a command needs them, so that the help and the
 * command `ddl` do not load them.
 */
export async function withLocks<T>(
  options: ConnectionOptions,
  work: (locks: LockService) => Promise<T>,
): Promise<T> {
  const { store, close } = await storeOf(options);
  const [{ Logger }, { LockService }, internals] = await Promise.all([
    import('@nestjs/common'),
    import('../lock.service.js'),
    import('../lock-internals.js'),
  ]);
  // Nest's log is for applications. A command prints its own errors, and its standard output
  // may contain only the result.
  Logger.overrideLogger(false);
  const { prefix } = options;
  const locks = new LockService({
    options: prefix === undefined ? {} : { prefix },
    // prepare() checks at the start that the database user may write, but a user who may only
    // read can still list locks. So the store has no prepare() here, and the first operation
    // opens it.
    openStore: async () => Object.assign(await store(), { prepare: undefined }),
  });
  try {
    return await work(locks);
  } finally {
    await closeBoth(() => locks[internals.INTERNALS].close(), close).catch((error: Error) =>
      warn(`The connection could not be closed: ${error.message}`),
    );
  }
}

async function closeBoth(closeLocks: () => Promise<void>, closeClient?: () => Promise<void>): Promise<void> {
  try {
    await closeLocks();
  } finally {
    await closeClient?.();
  }
}

/**
 * @throws LockError if the URL cannot be read, or if an option has no meaning for its database
 */
export function addressOf({ url, table, schema, collection, database }: ConnectionOptions): StoreAddress {
  if (!url)
    throw new LockError(
      'No database given: set LOCKS_URL in the environment, or give --url. For example: LOCKS_URL=postgres://localhost/app nestjs-locked list',
    );
  const address = parseStoreUrl(url);
  if (address.kind === 'mongodb')
    refuse('MongoDB has collections instead of tables: use --collection and --database', { table, schema });
  else refuse('Only MongoDB has collections: use --table and --schema', { collection, database });
  return address;
}

/** Makes the store for a URL. `close` closes the client of the database after the store. */
interface StoreChoice {
  store: () => LockStore | Promise<LockStore>;
  close?: () => Promise<void>;
}

async function storeOf(options: ConnectionOptions): Promise<StoreChoice> {
  const { table, schema, collection, database, weak } = options;
  const address = addressOf(options);
  if (address.kind === 'mongodb') {
    const place = { url: address.url, databaseName: database, collectionName: collection };
    const { mongoStore } = await import('../stores/mongodb/mongo-store.js');
    const definition = mongoStore({ ...place, weak });
    return { store: () => definition.useFactory() };
  }
  if (address.kind === 'sqlite') assertFileExists(address.file);
  const { OwnClient } = await import('./own-client.js');
  const { SqlLockStore } = await import('../stores/sql/sql-lock.store.js');
  const client = new OwnClient(address);
  const store = new SqlLockStore(() => client.open(), { table, schema, weak, autoCreate: false });
  return { store: () => store, close: () => client.close() };
}

function refuse(hint: string, options: Record<string, string | undefined>): void {
  for (const [name, value] of Object.entries(options))
    if (value !== undefined) throw new LockError(`--${name} does not fit this database. ${hint}.`);
}
