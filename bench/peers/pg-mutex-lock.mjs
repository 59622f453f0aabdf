import mutexes from 'pg-mutex-lock';

/** Advisory locks of one session for all: no lease, no durable write. Polls every 100 ms and gives up after three times `timeout`, which is all there is to tune. */
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
