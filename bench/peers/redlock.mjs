import { Redlock as SesameRedlock } from '@sesamecare-oss/redlock';
import { Redis } from 'ioredis';
import Redlock from 'redlock';
import { TTL } from './ttl.mjs';

/**
 * Settings with which redlock never gives up. By default it gives up after ten attempts, about
 * 200 ms apart.
 */
const tuned = { retryCount: -1, retryDelay: 5, retryJitter: 2 };

export const redlock = {
  name: 'redlock',
  kind: 'redis',
  stores: ['redis'],
  variants: ['default', 'tuned'],
  lease: true,
  waiting: 'polls',
  open({ url, variant }) {
    const connection = new Redis(url);
    const locks = new Redlock([connection], variant === 'tuned' ? tuned : {});
    return opened(locks, (lock) => lock.unlock(), connection);
  },
};

export const sesameRedlock = {
  ...redlock,
  name: '@sesamecare-oss/redlock',
  open({ url, variant }) {
    const connection = new Redis(url);
    const locks = new SesameRedlock([connection], variant === 'tuned' ? tuned : {});
    return opened(locks, (lock) => lock.release(), connection);
  },
};

function opened(locks, release, connection) {
  return {
    async run(key, body) {
      const lock = await locks.acquire([key], TTL);
      try {
        await body();
      } finally {
        await release(lock);
      }
    },
    close: () => connection.quit(),
  };
}
