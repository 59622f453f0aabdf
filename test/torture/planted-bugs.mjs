import { TTL } from './terms.mjs';

/** A store, or its definition, with some of its methods replaced. */
function replace(definition, change) {
  return {
    ...definition,
    async useFactory(...dependencies) {
      const store = await definition.useFactory(...dependencies);
      const changed = change(store);
      return new Proxy(store, {
        get(target, name) {
          const value = changed[name] ?? target[name];
          return typeof value === 'function' ? value.bind(target) : value;
        },
      });
    },
  };
}

/** When the last answer that prolonged a lease came, by owner. */
const answered = new Map();

/** Bugs that a lock library could have. Each is planted into the worker, around a store that is right, to see that the checks find it. */
const BUGS = {
  none: { plant: (store) => store },

  'release by key only': {
    plant: (store) => replace(store, (right) => ({ release: (key) => right.forceRelease(key) })),
  },

  'client clock': {
    plant(store) {
      const ahead = Math.random() * 2 * TTL; // of the database's
      return replace(store, (right) => ({
        async acquire(key, ...rest) {
          const found = await right.inspect(key);
          if (found.state === 'held' && found.holder.remaining < ahead) await right.forceRelease(key);
          return right.acquire(key, ...rest);
        },
      }));
    },
  },

  'no deadline': {
    plant: (store) => store,
    isHeld: (lock) => !lock.loss,
  },

  'deadline counted from the answer': {
    plant: (store) =>
      replace(store, (right) => ({
        async acquire(key, owner, ...rest) {
          const result = await right.acquire(key, owner, ...rest);
          if (result.acquired) answered.set(owner, performance.now());
          return result;
        },
        async renewMany(leases) {
          const outcomes = await right.renewMany(leases);
          leases.forEach(
            ({ owner }, i) => outcomes[i] === 'renewed' && answered.set(owner, performance.now()),
          );
          return outcomes;
        },
      })),
    isHeld: (lock) => performance.now() < answered.get(lock.owner) + TTL,
  },

  'token reset': {
    plant(store) {
      let token = 0;
      return replace(store, (right) => ({
        async acquire(...attempt) {
          const result = await right.acquire(...attempt);
          return result.acquired ? { acquired: true, fencingToken: ++token } : result;
        },
      }));
    },
  },

  'ON DUPLICATE KEY with FOUND_ROWS': {
    /** MySQL can count a row that was found and left alone like one that was changed. */
    plant: (store) =>
      replace(store, (right) => ({
        async acquire(...attempt) {
          const result = await right.acquire(...attempt);
          return result.holder ? { acquired: true, fencingToken: result.holder.fencingToken } : result;
        },
      })),
  },
};

export const BUG_NAMES = Object.keys(BUGS).filter((name) => name !== 'none');

export function planted(name = 'none') {
  if (!Object.hasOwn(BUGS, name))
    throw new Error(`there is no bug "${name}"; there are: ${BUG_NAMES.join(', ')}`);
  return BUGS[name];
}
