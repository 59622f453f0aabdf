import type { Socket } from 'node:net';
import { inTime } from '../../shared/operation-limit.js';
import { onConnectionEnd, type SessionLink } from '../sessions/lock-session.js';
import type { DriverExecutor } from '../sql-executor.js';
import { Mysql2Driver, type Mysql2Connection } from './mysql2-driver.js';

/** The members of mysql2's connection that session locks need besides its queries. */
interface SessionConnection extends Mysql2Connection {
  stream: Socket;
  connect(done: (error: unknown) => void): void;
  end(done: (error: unknown) => void): void;
  on(event: 'error', listener: (error: Error) => void): void;
}

/** Opens a connection with the options of the client, outside of its pool. */
export async function openMysqlLink(executor: DriverExecutor, keepAlive: number): Promise<SessionLink> {
  const settings = { enableKeepAlive: true, keepAliveInitialDelay: keepAlive };
  const connection = (await executor.createConnection(settings)) as SessionConnection;
  // Without a listener, an error of the connection would end the process.
  connection.on('error', () => undefined);
  const destroy = (): void => {
    connection.destroy();
    // destroy() of mysql2 waits for the server, and a dead connection never answers
    connection.stream.destroy();
  };
  try {
    await inTime(settled((done) => connection.connect(done)));
    const driver = new Mysql2Driver();
    return {
      send: (sql) => driver.send(connection, sql),
      quit: () => settled((done) => connection.end(done)),
      destroy,
      onEnd: (listener) => onConnectionEnd(connection, connection.stream, listener),
    };
  } catch (error) {
    destroy();
    throw error;
  }
}

function settled(start: (done: (error: unknown) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    start((error) => (error ? reject(error) : resolve()));
  });
}
