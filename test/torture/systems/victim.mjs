import { serverOf } from '../../servers/stores.mjs';

/**
 * The server that a store is tortured on: `{ version, url, crash, restart, stop }`, one of its own. Where none can be started it is the one that the tests
 * were given, which others may be using: then there is no way to crash it.
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
