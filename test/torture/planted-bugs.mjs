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

/**
 * Bugs that a lock library could have. Each is planted into the worker, around a store that is right, to see that the checks find it. One that is also
 * planted in simulated worlds or for the conformance suite has the name that it has there. `store`: where it can be seen, when not on SQLite;
 * `faults`: the only ones that show it, so that nobody has to wait for them.
 */
const BUGS = {
  none: { plant: (store) => store },

  'release by key only': {
    plant: (store) => replace(store, (right) => ({ release: (key) => right.forceRelease(key) })),
  },

  "the client's clock decides": {
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

  'a lease has no deadline': {
    plant: (store) => store,
    isHeld: (lock) => !lock.loss,
  },

  'the deadline of a grant counts from its answer': {
    store: 'postgres', // an answer of SQLite is on no way on which it could be late
    faults: ['SIGSTOP behind a slow link'],
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

  'a renewal that a read-only server refuses counts as renewed': {
    store: 'postgres', // a file has no server that could be demoted
    faults: ['demoted server'],
    plant: (store) =>
      replace(store, (right) => ({
        renewMany: (leases) =>
          right.renewMany(leases).catch((error) => {
            if (!/takes no writes/.test(error.message)) throw error;
            return leases.map(() => 'renewed');
          }),
      })),
  },

  'tokens are counted by each instance': {
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

  'the status in the answer of a grant is not looked at': {
    store: 'postgres', // SQLite has a connection of its own for the locks
    faults: ['dirty connections'],
    /** The driver says of each answer that it was given outside of a transaction. */
    async plant(store) {
      const { default: pg } = await import('pg');
      const emit = Reflect.get(pg.Connection.prototype, 'emit');
      pg.Connection.prototype.emit = function (event, message, ...others) {
        const hidden = event === 'readyForQuery' ? { ...message, status: 'I' } : message;
        return emit.call(this, event, hidden, ...others);
      };
      return store;
    },
  },

  'a held key is granted: ON DUPLICATE KEY with FOUND_ROWS': {
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

/** Where a bug is looked for. */
export function storeOf(name) {
  return planted(name).store ?? 'sqlite';
}

export function planted(name = 'none') {
  if (!Object.hasOwn(BUGS, name))
    throw new Error(`there is no bug "${name}"; there are: ${BUG_NAMES.join(', ')}`);
  return BUGS[name];
}
