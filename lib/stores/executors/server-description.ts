/** Where a server is, as a client was configured. */
export interface ServerAddress {
  host?: string | undefined;
  port?: number | string | undefined;
  database?: string | undefined;
  /** The file of a socket, in place of the host. */
  socketPath?: string | undefined;
}

/**
 * A server for people: the type of the database, host, port and name; never a user, a password
 * or a URL.
 */
export function describeServer(type: string, { host, port, database, socketPath }: ServerAddress): string {
  const number = port ? `:${port}` : '';
  // A password with a slash in it, not escaped, ends up in the path of a URL.
  const name = database && !database.includes('@') ? `, database ${database}` : '';
  return `${type} at ${socketPath || host || 'localhost'}${number}${name}`;
}
