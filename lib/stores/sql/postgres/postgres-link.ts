import type { Socket } from 'node:net';
import { LockStoreError } from '../../../lock.errors.js';
import { inTime } from '../../shared/operation-limit.js';
import { onConnectionEnd, type SessionLink } from '../sessions/lock-session.js';
import type { DriverExecutor } from '../sql-executor.js';
import { PgDriver, type PgClient, type PgConnection } from './pg-driver.js';

/** The members used of pg's client beside its queries. */
interface SessionClient extends PgClient {
  processID: number;
  connection?: PgConnection & { stream?: Socket };
  connect(): Promise<unknown>;
  on(event: 'error', listener: (error: Error) => void): void;
  on(event: 'notification', listener: (message: { payload?: string }) => void): void;
}

export interface PostgresLink extends SessionLink {
  /**
   * The process id that the server sent when the connection began; a pooler sends another
   * number.
   */
  readonly pid: number;
  /** Receives what other sessions send with NOTIFY to the channels of this connection. */
  onNotification(listener: (payload: string) => void): void;
  /** Lets the process end while it is open. */
  unref(): void;
}

/**
 * Makes a connection with the options of the client, outside of its pool.
 *
 * @param abandoned ends the attempt at once
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
    query_timeout: 0, // waits have a limit of their own
  })) as SessionClient;
  client.on('error', () => undefined); // without a listener, the event would end the process
  const cut = (): void => void client.connection?.stream?.destroy();
  abandoned?.addEventListener('abort', cut);
  try {
    await inTime(client.connect());
    const socket = client.connection?.stream;
    if (!socket)
      throw new LockStoreError(
        `${executor.client} uses pg-native, whose connections do not show when they end. Take Pool of pg and not of pg.native, or remove the package pg-native.`,
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
    cut(); // the end of a link that is dead would never come
    throw error;
  } finally {
    abandoned?.removeEventListener('abort', cut);
  }
}
