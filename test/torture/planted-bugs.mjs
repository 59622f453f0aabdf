import { TTL } from './terms.mjs';

/** A store definition whose store has some of its methods replaced. */
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

/** The time of the last answer that prolonged a lease, by owner. */
const answered = new Map();

/**
 * Bugs that a lock library could have. Each is planted into the workers, around a right store,
 * and the checks have to find it. A bug that the simulation or the conformance suite plants as
 * well has the same name there.
 *
 * `store` is the store on which the bug can be seen, by default SQLite. `faults` limits the
 * faults to those that reveal the bug, so that no run waits for them. `isHeld` replaces the
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
      const ahead = Math.random() * 2 * TTL; // of the database's clock
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
    store: 'postgres', // answers of SQLite cannot be late
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
    store: 'postgres', // a file has no server to demote
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
    store: 'postgres', // on SQLite, the locks have a connection of their own
    faults: ['dirty connections'],
    /** The driver reports each answer as given outside of a transaction. */
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
    /** MySQL can count a row that it found and did not change as changed. */
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

/** The store on which a bug can be seen. */
export function storeOf(name) {
  return planted(name).store ?? 'sqlite';
}

/** The bug with this name; without a name, no bug. */
export function planted(name) {
  if (name === undefined) return { plant: (store) => store };
  const bug = BUGS.find((one) => one.name === name);
  if (!bug) throw new Error(`there is no bug "${name}"; there are: ${BUG_NAMES.join(', ')}`);
  return bug;
}
