import { startServers, stopServers } from './running-servers.mjs';
import { selectStores, serverOf } from './stores.mjs';

/**
 * Runs once before all specs: starts the servers of the selected stores, and passes their URLs
 * to the specs in environment variables.
 */
export default async function globalSetup() {
  const selected = selectStores(process.env.LOCK_TEST_STORES);
  const namedByCaller = Boolean(process.env.LOCK_TEST_STORES);
  const failures = await startServers(selected.filter(serverOf));

  // MySQL 9.7 comes from Debian's unstable suite, which may lack it for a while. All other
  // tests must run nevertheless, so MySQL 5.6 then stands in, with a loud warning.
  const missing = (store) => failures.some((failure) => failure.store === store);
  const standIn =
    !namedByCaller && !process.env.LOCK_TEST_MYSQL_URL && missing('mysql') && !missing('mysql56');
  const fatal = failures.filter(({ store }) => !(standIn && store === 'mysql'));
  if (fatal.length > 0) {
    await stopServers();
    throw new Error(fatal.map(explain).join('\n\n'));
  }
  if (standIn) console.warn(banner(`NOT TESTED ON A CURRENT MYSQL, only on 5.6.\n${explain(failures[0])}`));

  process.env.LOCK_TEST_STORES = selected.filter((store) => !missing(store)).join(',');
}

function explain({ store, reason }) {
  return `The ${store} server for the tests cannot be had: ${reason.message}
Give one of your own in LOCK_TEST_${store.toUpperCase()}_URL (compose.yaml has one: docker compose up --detach --wait ${store}),
or leave it out on purpose: LOCK_TEST_STORES=memory,sqlite npm test`;
}

function banner(text) {
  const bar = '!'.repeat(100);
  return `${bar}\n${text}\n${bar}`;
}
