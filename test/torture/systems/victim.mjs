import { serverOf } from '../../servers/stores.mjs';

/**
 * The server on which a store is tortured: `{ version, url, crash, restart, stop }`. If no
 * server can be started, it is the server that the tests were given. Others may use that
 * server, so it has no `crash`.
 */
export async function findVictim(store) {
  try {
    return await serverOf(store).start();
  } catch (error) {
    const url = process.env[`LOCK_TEST_${store.toUpperCase()}_URL`];
    if (!url) throw error;
    return { version: 'of the tests', url, stop: async () => {} };
  }
}
