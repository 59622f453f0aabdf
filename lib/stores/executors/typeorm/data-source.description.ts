import type { DataSourceOptions } from 'typeorm';

/** What the options of all drivers may have, where it says where the database is. */
interface Address {
  host?: string;
  port?: number | string;
  database?: string;
  socketPath?: string;
  url?: string;
}

/** The database for people: type, host, port and name, or file; never a user, a password or a URL. */
export function describeDataSource(options: DataSourceOptions): string {
  const { type, extra, replication, ...own } = options as Address & {
    type: string;
    extra?: Address;
    replication?: { master?: Address };
  };
  const {
    host = 'localhost',
    port,
    database,
    socketPath,
    url,
  }: Address = { ...own, ...extra, ...replication?.master };
  if (type.includes('sqlite')) return `${type} file ${database}`;
  const address = url && URL.canParse(url) ? new URL(url) : undefined;
  const server = address?.hostname || socketPath || host;
  const number = address?.port || port;
  const path = address?.pathname.slice(1) || database;
  // A password with a slash in it, not escaped, ends up in the path of a URL.
  const name = path?.includes('@') ? undefined : path;
  return `${type} at ${server}${number ? `:${number}` : ''}${name ? `, database ${name}` : ''}`;
}
