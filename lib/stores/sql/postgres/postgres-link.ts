import type { Socket } from 'node:net';
import type { DataSource } from 'typeorm';
import { LockStoreError } from '../../../lock.errors.js';
import { OPERATION_LIMIT, TimeLimit } from '../../shared/time-limit.js';
import { PostgresWire, type PgClient, type PgConnection } from './pg-driver.js';
import { ConnectionEnd } from '../connection-end.js';
import type { SessionLink } from '../sessions/lock-session.js';

/** What is used of pg's client beside its queries. */
interface SessionClient extends PgClient {
  processID: number;
  connection?: PgConnection & { stream?: Socket };
  connect(): Promise<unknown>;
  on(event: 'error', listener: (error: Error) => void): void;
  on(event: 'notification', listener: (message: { payload?: string }) => void): void;
}

/** What is used of TypeORM's driver: its pool has the options for clients, and their class. */
interface PostgresDriver {
  master?: { options: Record<string, unknown>; Client: new (config: object) => SessionClient };
}

export interface PostgresLink extends SessionLink {
  /** The process that was named when the connection was made; a pooler names one of its own. */
  readonly pid: number;
  /** Has what is sent with NOTIFY to channels that it listens to told. */
  onNotification(listener: (payload: string) => void): void;
  /** Lets the process end while it is open. */
  unref(): void;
}

/**
 * Makes a connection with the options of the DataSource, outside of its pool.
 *
 * @param abandoned ends the attempt at once
 */
export async function openPostgresLink(
  dataSource: DataSource,
  keepAlive: number,
  abandoned?: AbortSignal,
): Promise<PostgresLink> {
  const { master } = dataSource.driver as unknown as PostgresDriver;
  if (!master)
    throw new LockStoreError('The DataSource was closed. Initialize it again, or close the application.', {
      transient: true,
    });
  const client = new master.Client({
    ...master.options,
    password: master.options.password, // not enumerable there
    application_name: 'nestjs-locked',
    keepAlive: true,
    keepAliveInitialDelayMillis: keepAlive,
    query_timeout: 0, // waits have a limit of their own
  });
  const end = new ConnectionEnd();
  client.on('error', end.failed);
  const cut = (): void => void client.connection?.stream?.destroy();
  abandoned?.addEventListener('abort', cut);
  const timeLimit = new TimeLimit(OPERATION_LIMIT);
  try {
    await timeLimit.race(client.connect());
    const socket = client.connection?.stream;
    if (!socket)
      throw new LockStoreError(
        'TypeORM has loaded pg-native, whose connections do not tell when they end. Remove the package pg-native.',
      );
    socket.once('close', end.closed);
    const wire = new PostgresWire();
    return {
      pid: client.processID,
      run: (sql) => wire.run(client, sql),
      quit: () => client.end(),
      destroy: () => socket.destroy(),
      onEnd: end.onEnd,
      onNotification: (listener) => client.on('notification', ({ payload = '' }) => listener(payload)),
      unref: () => void socket.unref(),
    };
  } catch (error) {
    client.end().catch(() => undefined);
    cut(); // the end of a link that is dead would never come
    throw error;
  } finally {
    abandoned?.removeEventListener('abort', cut);
    timeLimit.end();
  }
}
