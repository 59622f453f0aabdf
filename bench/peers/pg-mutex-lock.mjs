import mutexes from 'pg-mutex-lock';

/**
 * All advisory locks belong to one session, so there is no lease and no durable write. The
 * library polls every 100 ms, and gives up after three times `timeout`, the only setting to
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
