import { LockError, LockStoreError } from '../../lock.errors.js';
import { safeError } from '../../safe-error.js';
import { nameOf, quoted, type LockTable } from './lock-table.ddl.js';
import type { SqlExecutor } from './sql-executor.js';

/**
 * Runs one statement without values and returns its rows. The connection belongs to the store
 * or to a migration.
 */
type Query = (sql: string) => Promise<Record<string, unknown>[]>;

/** The schema in which the server looks for the table if a statement names no schema. */
interface DefaultSchema {
  schema: string;
  isLockTable: boolean;
}

/**
 * Finds the schema of the table (the database, on MySQL and MariaDB), so that every statement
 * can name it. A statement without the name could reach another schema, to which the
 * application has set its connection.
 *
 * The schema is the store's option `schema`. Without this option it is the schema in the
 * options of the client, or else the server's default for the user.
 *
 * @throws LockStoreError when that schema does not exist
 * @throws LockError when an earlier version of this library keeps its locks in another schema
 */
export async function resolveTable(
  { client, type, schema: configured }: Pick<SqlExecutor, 'client' | 'type' | 'schema'>,
  table: LockTable,
  query: Query,
): Promise<LockTable> {
  if (type === 'postgres')
    return { ...table, schema: await postgresSchema(client, configured, table, query) };
  if (type === 'mysql' || type === 'mariadb') {
    const schema = table.schema ?? configured;
    if (schema) return { ...table, schema };
    throw new LockStoreError(
      `The options of ${client} name no database for the lock table. Set the option database of the client, or the option schema of the store.`,
    );
  }
  // Statements name the schema `main`, since a temporary table of the application could
  // otherwise hide the lock table.
  return { ...table, schema: table.schema ?? 'main' };
}

async function postgresSchema(
  client: string,
  configured: string | undefined,
  table: LockTable,
  query: Query,
): Promise<string> {
  const schema = table.schema ?? configured;
  if (schema === undefined) {
    const found = await defaultSchema(table, query);
    if (found) return found.schema;
    throw new LockStoreError(
      `The search_path of this user has no schema for the table ${table.table} that exists and that the user may use. Set the option schema.`,
    );
  }
  const exists = `SELECT 1 AS found FROM pg_catalog.pg_namespace WHERE nspname = ${literal(schema)}`;
  if ((await query(exists)).length === 0) throw missingSchema({ ...table, schema });
  if (table.schema === undefined) await assertNotElsewhere(client, { ...table, schema }, query);
  return schema;
}

/**
 * Refuses to start if an earlier version of the library keeps its locks in another schema,
 * since that version ignored the client's schema. Otherwise, two tables could give one lock
 * two holders during a rolling deployment.
 */
async function assertNotElsewhere(client: string, table: LockTable, query: Query): Promise<void> {
  const before = await defaultSchema(table, query);
  if (!before?.isLockTable || before.schema === table.schema) return;
  const present = `SELECT 1 AS found FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = ${literal(String(table.schema))} AND c.relname = '${table.table}'`;
  if ((await query(present)).length > 0) return;
  const old = { ...table, schema: before.schema };
  throw new LockError(
    `The schema ${String(table.schema)} in the options of ${client} has no table ${table.table}, but ${nameOf(old)} has the locks of an earlier version, which ignored that schema. ` +
      `With two tables, two instances could hold one lock. To keep the old table, set the option schema to '${before.schema}'. ` +
      `To move it, stop every instance and run ALTER TABLE ${quoted(old, '"')} SET SCHEMA ${quoted({ table: String(table.schema), weak: false }, '"')}. ` +
      'If no instance uses it, drop it.',
  );
}

/**
 * Finds the schema by the reset value of `search_path`, since the session may have changed its
 * path. The value is read in the way of the server: names are quoted or folded to lower case,
 * "$user" is the user's name, and only schemas count that exist and that the user may use. The
 * result is the first schema with the table, or else the first schema.
 */
async function defaultSchema({ table }: LockTable, query: Query): Promise<DefaultSchema | undefined> {
  const [place] = await query(
    `WITH me AS (
       SELECT COALESCE((SELECT substr(setting, 6) FROM pg_catalog.pg_db_role_setting, unnest(setconfig) AS setting
                         WHERE setting LIKE 'role=%' AND setting <> 'role=none'
                           AND setrole IN (0, (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = session_user))
                           AND setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))
                         ORDER BY setrole = 0, setdatabase = 0 LIMIT 1), session_user)::name AS name
     ), path AS (
       SELECT place, COALESCE(replace(part[1], '""', '"'), lower(part[2]))::name AS name
         FROM pg_catalog.pg_settings AS s,
              regexp_matches(s.reset_val, '"((?:[^"]|"")*)"|([^",[:space:]]+)', 'g') WITH ORDINALITY AS parts (part, place)
        WHERE s.name = 'search_path'
     )
     SELECT n.nspname::text AS schema,
            (SELECT count(*) = 3 FROM pg_catalog.pg_attribute WHERE attrelid = c.oid AND attname IN ('owner', 'token', 'expires_ms')) AS is_lock_table
       FROM path CROSS JOIN me
       JOIN pg_catalog.pg_namespace AS n ON n.nspname = CASE path.name WHEN '$user' THEN me.name ELSE path.name END
       LEFT JOIN pg_catalog.pg_class AS c ON c.relnamespace = n.oid AND c.relname = '${table}' AND c.relkind IN ('r', 'p', 'v', 'f')
      WHERE left(n.nspname, 3) <> 'pg_' AND has_schema_privilege(me.name, n.oid, 'USAGE')
      ORDER BY c.oid IS NULL, path.place LIMIT 1`,
  );
  return place && { schema: String(place.schema), isLockTable: place.is_lock_table === true };
}

/**
 * Returns a PostgreSQL literal that means the same text whether the session treats backslashes
 * as escapes or not.
 */
export function literal(text: string): string {
  return `E'${text.replaceAll(/['\\]/g, '$&$&')}'`;
}

/** Returns the error for a schema that does not exist. */
export function missingSchema({ table, schema }: LockTable, cause?: unknown): LockStoreError {
  return new LockStoreError(
    `The schema ${schema ?? 'of the connection'} for the table ${table} does not exist. Create it, or change the option schema.`,
    { cause: safeError(cause) },
  );
}
