import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * Returns a free port below the range of outgoing connections, because such a connection could
 * take a port in that range before the server does.
 *
 * @returns {Promise<number>}
 */
export async function freePort() {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    const probe = createServer();
    try {
      await once(probe.listen(port, '127.0.0.1'), 'listening');
    } catch (error) {
      if (error.code === 'EADDRINUSE') continue;
      throw error;
    }
    await once(probe.close(), 'close');
    return port;
  }
}
