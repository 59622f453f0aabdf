import { Option, type Command } from 'commander';
import type { LockStore } from '../interfaces/lock-store.interface.js';
import { LockError } from '../lock.errors.js';
import type { LockService } from '../lock.service.js';
import { warn } from './output.js';
import { assertFileExists, parseStoreUrl, type StoreAddress } from './store-url.js';

/** The options that every command has. */
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
    .option('--table <name>', 'the table (default: "locks")')
    .option('--schema <name>', 'its schema in PostgreSQL, its database in MySQL and MariaDB')
    .option('--collection <name>', 'the collection in MongoDB (default: "locks")')
    .option('--database <name>', 'its database (default: the one of the URL)')
    .option('--weak', 'the application has the option weak (default table or collection: "locks_weak")')
    .option('--prefix <name>', 'the prefix that the LockModule of the application has')
    .option('--json', 'print results and errors as JSON, one object in each line');
}

/**
 * Runs `work` with the locks of a database, and then closes the connection. It never creates a
 * table. Nest and the code of the store are loaded here, so that help and `ddl` do without.
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
  // The log lines are for applications. Here each command reports by itself, and standard
  // output is for its result.
  Logger.overrideLogger(false);
  const { prefix } = options;
  const locks = new LockService({
    options: prefix === undefined ? {} : { prefix },
    // Without prepare(), the first operation opens the store: the check of rights at start
    // would refuse a user who may only read.
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
 * @throws LockError for a URL that cannot be read, and for options that its database does not
 * have
 */
export function addressOf({ url, table, schema, collection, database }: ConnectionOptions): StoreAddress {
  if (!url)
    throw new LockError(
      'No database given: set LOCKS_URL in the environment, or give --url. For example: LOCKS_URL=postgres://localhost/app nestjs-locked list',
    );
  const address = parseStoreUrl(url);
  if (address.kind === 'mongodb') refuse('MongoDB has collections: use --collection', { table, schema });
  else refuse('Only MongoDB has it: use --table and --schema', { collection, database });
  return address;
}

/** How the store of the URL is made, and what is closed after it. */
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
