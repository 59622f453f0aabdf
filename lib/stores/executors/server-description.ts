/** The address of a server in the configuration of a client. */
export interface ServerAddress {
  host?: string | undefined;
  port?: number | string | undefined;
  database?: string | undefined;
  /** The path of the socket, if the client uses a socket instead of a host. */
  socketPath?: string | undefined;
}

/**
 * Describes a server for messages: type of the database, host, port and name; never a user, a
 * password or a URL.
 */
export function describeServer(type: string, { host, port, database, socketPath }: ServerAddress): string {
  const number = port ? `:${port}` : '';
  // If a password in a URL contains an unescaped slash, the text after that slash lands in the
  // database name.
  const name = database && !database.includes('@') ? `, database ${database}` : '';
  return `${type} at ${socketPath || host || 'localhost'}${number}${name}`;
}
