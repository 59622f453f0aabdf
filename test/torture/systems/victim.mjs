import { serverOf } from '../../servers/stores.mjs';

/**
 * Starts the server on which a store is tortured: `{ version, url, crash, restart, stop }`. If
 * no server can be started, this is the server given to the tests, without `crash`, because
 * others may use a given server.
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
