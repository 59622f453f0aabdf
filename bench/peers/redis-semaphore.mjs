import { Redis } from 'ioredis';
import { Mutex } from 'redis-semaphore';
import { TTL } from './ttl.mjs';

/**
 * Settings with which redis-semaphore never gives up. By default it tries every 10 ms, and
 * gives up after ten seconds.
 */
const tuned = { lockTimeout: TTL, acquireTimeout: Infinity, retryInterval: 5 };

export const redisSemaphore = {
  name: 'redis-semaphore',
  kind: 'redis',
  stores: ['redis'],
  variants: ['default', 'tuned'],
  lease: true,
  waiting: 'polls',
  open({ url, variant }) {
    const connection = new Redis(url);
    const options = variant === 'tuned' ? tuned : {};
    return {
      async run(key, body) {
        const mutex = new Mutex(connection, key, options);
        await mutex.acquire();
        try {
          await body();
        } finally {
          await mutex.release();
        }
      },
      close: () => connection.quit(),
    };
  },
};
