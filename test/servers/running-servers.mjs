import { serverVersion } from './server-version.mjs';
import { serverOf } from './stores.mjs';

/** The servers that this run started. */
const running = [];

/**
 * The name of the environment variable with the URL of a store's server. If the caller has not
 * set the variable, this run sets it for the specs.
 */
const urlVariable = (store) => `LOCK_TEST_${store.toUpperCase()}_URL`;

/**
 * Starts the servers of all stores at the same time. Returns the stores whose servers failed
 * to start, with the reasons.
 */
export async function startServers(stores) {
  const outcomes = await Promise.allSettled(stores.map(provide));
  return stores.flatMap((store, i) =>
    outcomes[i].status === 'rejected' ? [{ store, reason: outcomes[i].reason }] : [],
  );
}

export async function stopServers() {
  await Promise.all(
    running.splice(0).map(async ({ store, server }) => {
      // In watch mode, the next run would believe that the caller has set this URL.
      delete process.env[urlVariable(store)];
      await server.stop();
    }),
  );
}

async function provide(store) {
  const variable = urlVariable(store);
  const given = process.env[variable];
  if (given) return announce(store, await versionAt(given, variable), given, variable);

  const begin = Date.now();
  const server = await serverOf(store).start();
  running.push({ store, server });
  process.env[variable] = server.url;
  announce(store, server.version, server.url, `started in ${((Date.now() - begin) / 1000).toFixed(1)} s`);
}

async function versionAt(url, variable) {
  try {
    return await serverVersion(url);
  } catch (error) {
    throw new Error(`the server of ${variable} does not answer: ${error.message || error.code}`, {
      cause: error,
    });
  }
}

function announce(store, version, url, origin) {
  // A pattern finds the hosts, because the class `URL` refuses the several hosts of a replica
  // set.
  const [, hosts] = /^[^:]+:\/\/(?:[^/@]*@)?([^/?]*)/.exec(url) ?? [];
  console.warn(`servers: ${store} ${version} on ${hosts} (${origin})`);
}
