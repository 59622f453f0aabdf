import { TTL } from './terms.mjs';

/**
 * Returns a store definition whose store has the methods that `change` returns, and otherwise
 * its own.
 */
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

/** For each owner, the time of the last answer that granted or renewed its lease. */
const answered = new Map();

/**
 * Bugs that a lock library could have. Each bug is planted into the workers around a store
 * without bugs, and the checks of torture have to find the bug. If the simulation or the
 * conformance suite plants the same bug, the names are equal.
 *
 * `store` is the store on which the bug can be found, by default SQLite. `faults` limits a run
 * to the faults that reveal the bug, so that the bug is found soon. `isHeld` replaces the
 * `held` of a lock.
 */
const BUGS = [
  {
    name: 'release by key only',
    plant: (store) => replace(store, (right) => ({ release: (key) => right.forceRelease(key) })),
  },
  {
    name: "the client's clock decides",
    plant(store) {
      // Milliseconds by which the clock of the client is ahead of the clock of the database.
      const ahead = Math.random() * 2 * TTL;
      return replace(store, (right) => ({
        async acquire(key, ...rest) {
          const found = await right.inspect(key);
          if (found.state === 'held' && found.holder.remaining < ahead) await right.forceRelease(key);
          return right.acquire(key, ...rest);
        },
      }));
    },
  },
  {
    name: 'a lease has no deadline',
    plant: (store) => store,
    isHeld: (lock) => !lock.loss,
  },
  {
    name: 'the deadline of a grant counts from its answer',
    store: 'postgres', // The answers of SQLite cannot be late, since no network delays them.
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
  {
    name: 'a renewal that a read-only server refuses counts as renewed',
    store: 'postgres', // SQLite has no server that could become read-only.
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
  {
    name: 'tokens are counted by each instance',
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
  {
    name: 'the transaction status in the answer of a grant is ignored',
    // On SQLite, the locks have their own connection, which dirty connections of the pool do
    // not affect.
    store: 'postgres',
    faults: ['dirty connections'],
    /** Lets the driver report for each answer that no transaction is open. */
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
  {
    name: 'a held key is granted: ON DUPLICATE KEY with FOUND_ROWS',
    /**
     * With FOUND_ROWS, MySQL counts a row that it found as changed even if it did not change
     * the row.
     */
    plant: (store) =>
      replace(store, (right) => ({
        async acquire(...attempt) {
          const result = await right.acquire(...attempt);
          return result.holder ? { acquired: true, fencingToken: result.holder.fencingToken } : result;
        },
      })),
  },
];

export const BUG_NAMES = BUGS.map(({ name }) => name);

/** Returns the store on which the bug can be found. */
export function storeOf(name) {
  return planted(name).store ?? 'sqlite';
}

/** Returns the bug with this name, or a change that does nothing if no name is given. */
export function planted(name) {
  if (name === undefined) return { plant: (store) => store };
  const bug = BUGS.find((one) => one.name === name);
  if (!bug) throw new Error(`there is no bug "${name}"; there are: ${BUG_NAMES.join(', ')}`);
  return bug;
}
