import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { LockError } from '../lock.errors.js';

/** The database that a URL names, or the SQLite file. */
export type StoreAddress =
  | { kind: 'sql'; type: 'postgres' | 'mysql' | 'mariadb'; url: string }
  | { kind: 'sqlite'; file: string }
  | { kind: 'mongodb'; url: string };

const SQL_SCHEMES = new Map([
  ['postgres', 'postgres'],
  ['postgresql', 'postgres'],
  ['mysql', 'mysql'],
  ['mariadb', 'mariadb'],
] as const);

const FORMS = 'postgres://, mysql://, mariadb://, mongodb://, mongodb+srv:// or sqlite:path/to/file';
const DRIVER_PATIENCE = 'serverSelectionTimeoutMS';

/**
 * Reads the URL of a database. Messages show only the scheme of the URL, since a URL may
 * contain a password.
 *
 * @throws LockError that lists the forms of URLs that can be read
 */
export function parseStoreUrl(url: string): StoreAddress {
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1]?.toLowerCase();
  if (scheme === undefined)
    throw new LockError(`The database URL has no scheme. It has to begin with ${FORMS}.`);
  if (scheme === 'sqlite' || scheme === 'file') return { kind: 'sqlite', file: fileOf(url, scheme) };
  if (scheme === 'mongodb' || scheme === 'mongodb+srv') return { kind: 'mongodb', url: impatient(url) };
  for (const [name, type] of SQL_SCHEMES)
    if (scheme === name) return { kind: 'sql', type, url: readable(url, scheme) };
  throw new LockError(`Locks cannot be kept in ${scheme}. The database URL has to begin with ${FORMS}.`);
}

/**
 * Refuses a path without a file: SQLite would create an empty database there.
 *
 * @throws LockError
 */
export function assertFileExists(file: string): void {
  if (existsSync(file)) return;
  throw new LockError(
    `There is no SQLite file ${file} (looked for from ${process.cwd()}). Give the file of the application: sqlite:path/to/file, or sqlite:///absolute/path.`,
  );
}

function fileOf(url: string, scheme: string): string {
  const path = url.slice(scheme.length + 1);
  if (!path.startsWith('//')) {
    if (path !== '') return path;
  } else if (scheme === 'file' && URL.canParse(url)) {
    return fileURLToPath(url);
  } else if (path.startsWith('///')) {
    return path.slice(2);
  }
  throw new LockError(
    `The ${scheme} URL names no file. Write ${scheme}:path/to/file or ${scheme}:///absolute/path.`,
  );
}

function readable(url: string, scheme: string): string {
  if (URL.canParse(url) && url.startsWith('//', scheme.length + 1)) {
    const { username, password } = new URL(url);
    if (isDecodable(username) && isDecodable(password)) return url;
  }
  throw new LockError(
    `The ${scheme} URL cannot be read. It has to be ${scheme}:// and then user:password@host:port/database, with special characters of user and password percent-encoded (@ is %40, / is %2F).`,
  );
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch (error) {
    if (error instanceof URIError) return false;
    throw error;
  }
}

/**
 * Adds a time limit for the search of a MongoDB server to the URL. By default the driver
 * searches for half a minute, and the command seems to hang. The limit is long enough for the
 * election of a new primary.
 */
function impatient(url: string): string {
  if (url.toLowerCase().includes(`${DRIVER_PATIENCE.toLowerCase()}=`)) return url;
  const [, address = ''] = url.split('://');
  const separator = address.includes('?') ? '&' : address.includes('/') ? '?' : '/?';
  return `${url}${separator}${DRIVER_PATIENCE}=10000`;
}
