import { serverVersion } from './server-version.mjs';
import { serverOf } from './stores.mjs';

/** The servers that this run started, and the variables that it set for them. */
const running = [];

/** The variable with the URL of a store's server: given by the caller, or set here for the specs to read. */
const urlVariable = (store) => `LOCK_TEST_${store.toUpperCase()}_URL`;

/** Sees to it that each store's server runs, all at the same time. Gives the stores that failed, with the reasons. */
export async function startServers(stores) {
  const outcomes = await Promise.allSettled(stores.map(provide));
  return stores.flatMap((store, i) =>
    outcomes[i].status === 'rejected' ? [{ store, reason: outcomes[i].reason }] : [],
  );
}

export async function stopServers() {
  await Promise.all(
    running.splice(0).map(async ({ store, server }) => {
      delete process.env[urlVariable(store)]; // or the next run of a watch would take it for the caller's
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
  // Not a case for URL, which refuses the several hosts of a replica set.
  const [, hosts] = /^[^:]+:\/\/(?:[^/@]*@)?([^/?]*)/.exec(url) ?? [];
  console.warn(`servers: ${store} ${version} on ${hosts} (${origin})`);
}
