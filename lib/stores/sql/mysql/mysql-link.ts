import type { Socket } from 'node:net';
import type { DataSource } from 'typeorm';
import { OPERATION_LIMIT, TimeLimit } from '../../shared/time-limit.js';
import { MysqlWire, type Mysql2Connection } from './mysql2-driver.js';
import { ConnectionEnd } from '../connection-end.js';
import type { SessionLink } from '../sessions/lock-session.js';

/** What is used of mysql2's connection beside its queries. */
interface SessionConnection extends Mysql2Connection {
  stream: Socket;
  connect(done: (error: unknown) => void): void;
  end(done: (error: unknown) => void): void;
  on(event: 'error', listener: (error: Error) => void): void;
}

/** What is used of TypeORM's driver: the package, and the options that it makes for its pools. */
interface MysqlDriver {
  mysql: { createConnection(options: object): SessionConnection };
  createConnectionOptions(options: object, credentials: object): { acquireTimeout?: unknown };
}

/** Makes a connection with the options of the DataSource, outside of its pool. */
export async function openMysqlLink(dataSource: DataSource, keepAlive: number): Promise<SessionLink> {
  const driver = dataSource.driver as unknown as MysqlDriver;
  const options = dataSource.options as { replication?: { master?: object } };
  const { acquireTimeout: _, ...own } = driver.createConnectionOptions(
    options,
    options.replication?.master ?? options,
  );
  const connection = driver.mysql.createConnection({
    ...own,
    enableKeepAlive: true,
    keepAliveInitialDelay: keepAlive,
  });
  const end = new ConnectionEnd();
  connection.on('error', end.failed);
  const destroy = (): void => {
    connection.destroy();
    connection.stream.destroy(); // the end of a link that is dead would never come
  };
  const timeLimit = new TimeLimit(OPERATION_LIMIT);
  try {
    await timeLimit.race(settled((done) => connection.connect(done)));
    connection.stream.once('close', end.closed);
    const wire = new MysqlWire();
    return {
      run: (sql) => wire.run(connection, sql),
      quit: () => settled((done) => connection.end(done)),
      destroy,
      onEnd: end.onEnd,
    };
  } catch (error) {
    destroy();
    throw error;
  } finally {
    timeLimit.end();
  }
}

function settled(start: (done: (error: unknown) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    start((error) => (error ? reject(error) : resolve()));
  });
}
