import type { Socket } from 'node:net';
import { LockStoreError } from '../../../lock.errors.js';
import { inTime } from '../../shared/operation-limit.js';
import { onConnectionEnd, type SessionLink } from '../sessions/lock-session.js';
import type { DriverExecutor } from '../sql-executor.js';
import { PgDriver, type PgClient, type PgConnection } from './pg-driver.js';

/** The members of pg's client that a separate connection needs besides its queries. */
interface SessionClient extends PgClient {
  processID: number;
  connection?: PgConnection & { stream?: Socket };
  connect(): Promise<unknown>;
  on(event: 'error', listener: (error: Error) => void): void;
  on(event: 'notification', listener: (message: { payload?: string }) => void): void;
}

export interface PostgresLink extends SessionLink {
  /**
   * The process id that the server sent when the connection began. A pooler sends an id that
   * is not that of the server's process.
   */
  readonly pid: number;
  /** Calls the listener with each notification on the channels of this connection. */
  onNotification(listener: (payload: string) => void): void;
  /** Allows the process to end although the connection is open. */
  unref(): void;
}

/**
 * Opens a connection with the options of the client, outside of its pool.
 *
 * @param abandoned a signal that ends the attempt to connect at once
 */
export async function openPostgresLink(
  executor: DriverExecutor,
  keepAlive: number,
  abandoned?: AbortSignal,
): Promise<PostgresLink> {
  const client = (await executor.createConnection({
    application_name: 'nestjs-locked',
    keepAlive: true,
    keepAliveInitialDelayMillis: keepAlive,
    query_timeout: 0, // the callers limit how long they wait
  })) as SessionClient;
  client.on('error', () => undefined); // Without a listener, an error would end the process.
  const cut = (): void => void client.connection?.stream?.destroy();
  abandoned?.addEventListener('abort', cut);
  try {
    await inTime(client.connect());
    const socket = client.connection?.stream;
    if (!socket)
      throw new LockStoreError(
        `${executor.client} uses pg-native, whose connections do not show when they end. Use the class Pool of pg instead of that of pg.native, or remove the package pg-native.`,
      );
    const driver = new PgDriver();
    return {
      pid: client.processID,
      send: (sql) => driver.send(client, sql),
      quit: () => client.end(),
      destroy: () => socket.destroy(),
      onEnd: (listener) => onConnectionEnd(client, socket, listener),
      onNotification: (listener) => client.on('notification', ({ payload = '' }) => listener(payload)),
      unref: () => void socket.unref(),
    };
  } catch (error) {
    client.end().catch(() => undefined);
    cut(); // end() of pg waits for the server, and a dead connection never answers
    throw error;
  } finally {
    abandoned?.removeEventListener('abort', cut);
  }
}
