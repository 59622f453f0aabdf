import { Redis } from 'ioredis';
import { Mutex } from 'redis-semaphore';
import { SHORTEST_DELAY, TTL } from './variants.mjs';

/** Tries every 10 ms by default, and gives up after ten seconds. */
export const redisSemaphore = {
  name: 'redis-semaphore',
  kind: 'redis',
  stores: ['redis'],
  variants: ['default', 'tuned'],
  lease: true,
  polls: true,
  open({ url, variant }) {
    const connection = new Redis(url);
    const options =
      variant === 'tuned'
        ? { lockTimeout: TTL, acquireTimeout: Infinity, retryInterval: SHORTEST_DELAY / 2 }
        : {};
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
