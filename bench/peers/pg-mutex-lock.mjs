import mutexes from 'pg-mutex-lock';

/**
 * A peer whose advisory locks all belong to one session, so it has neither leases nor durable
 * writes. It polls every 100 ms, and gives up after three times `timeout`, the only setting to
 * tune.
 */
export const pgMutexLock = {
  name: 'pg-mutex-lock',
  kind: 'sql',
  stores: ['postgres'],
  variants: ['default'],
  lease: false,
  waiting: 'polls',
  open({ url }) {
    const { hostname: host, port, username: user, password, pathname } = new URL(url);
    const database = { host, port: Number(port), user, password, database: pathname.slice(1) };
    const mutex = new mutexes.default({ database });
    return {
      async run(key, body) {
        await mutex.acquireLock(key);
        try {
          await body();
        } finally {
          await mutex.releaseLock(key);
        }
      },
      close: () => mutex.end(),
    };
  },
};
