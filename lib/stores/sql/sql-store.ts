import { ModuleRef } from '@nestjs/core';
import type { InjectionToken } from '@nestjs/common';
import type { LockStoreDefinition } from '../../interfaces/lock-store.interface.js';
import { LockError } from '../../lock.errors.js';
import { assertKnownOptions } from '../../options/known-options.js';
import { SessionLockStore } from './sessions/session-lock.store.js';
import {
  readSessionOptions,
  SESSION_OPTIONS,
  type SessionStoreOptions,
} from './sessions/session-store.options.js';
import { openerOf, type OpenExecutor, type SqlExecutor } from './sql-executor.js';
import { SqlLockStore } from './sql-lock.store.js';
import { readStoreOptions, STORE_OPTIONS, type SqlStoreOptions } from './sql-store.options.js';

/**
 * How the store reaches the database: an executor, or a function that makes one of providers
 * of the application.
 *
 * @publicApi
 */
export type ExecutorChoice<Transaction = unknown> =
  | {
      /** Such as `fromPg(pool)`. */
      executor: SqlExecutor<Transaction>;
      inject?: undefined;
    }
  | {
      /** The providers that `executor` gets, of whichever module: `[PG_POOL]`. */
      inject: InjectionToken[];
      /** Such as `fromPg`. The store calls it when it opens, at the start. */
      executor: (...providers: never[]) => SqlExecutor<Transaction> | Promise<SqlExecutor<Transaction>>;
    };

/**
 * Keeps locks in a table of PostgreSQL, MySQL, MariaDB or SQLite, through the client that the
 * application has.
 *
 * ```ts
 * sqlStore({ executor: fromPg(pool) });
 * sqlStore({ inject: [PG_POOL], executor: fromPg });
 * ```
 *
 * @throws LockError at once for an option that does not exist or is not valid
 * @publicApi
 */
export function sqlStore<Transaction = unknown>(
  options: SqlStoreOptions & ExecutorChoice<Transaction>,
): LockStoreDefinition {
  assertKnownOptions('sqlStore()', options, ['executor', 'inject', ...STORE_OPTIONS]);
  const { executor, inject, ...storeOptions } = options;
  readStoreOptions('sqlStore()', storeOptions);
  const openFor = readChoice('sqlStore()', { executor, inject } as ExecutorChoice<Transaction>);
  return {
    inject: [ModuleRef],
    useFactory: (moduleRef: ModuleRef) => new SqlLockStore(openFor(moduleRef), storeOptions),
  };
}

/**
 * Keeps locks in connections of the store's own: advisory locks of PostgreSQL, `GET_LOCK` of
 * MySQL and MariaDB. They last as long as their connection, without ttl and renewal, and need
 * no table.
 *
 * @throws LockError at once for an option that does not exist or is not valid
 * @publicApi
 */
export function sqlSessionStore(options: SessionStoreOptions & ExecutorChoice): LockStoreDefinition {
  assertKnownOptions('sqlSessionStore()', options, ['executor', 'inject', ...SESSION_OPTIONS]);
  const { executor, inject, ...storeOptions } = options;
  readSessionOptions('sqlSessionStore()', storeOptions);
  const openFor = readChoice('sqlSessionStore()', { executor, inject } as ExecutorChoice);
  return {
    inject: [ModuleRef],
    useFactory: (moduleRef: ModuleRef) => new SessionLockStore(openFor(moduleRef), storeOptions),
  };
}

function readChoice<Transaction>(
  user: string,
  { executor, inject }: ExecutorChoice<Transaction>,
): (moduleRef: ModuleRef) => OpenExecutor<Transaction> {
  if (inject === undefined) {
    const open = openerOf(executor, user);
    return () => open;
  }
  if (!Array.isArray(inject) || typeof executor !== 'function')
    throw new LockError(
      `With inject, ${user} needs a list of providers, and as executor a function that gets them: { inject: [PG_POOL], executor: fromPg }.`,
    );
  if (inject.some((token: unknown) => token === undefined || token === null))
    throw new LockError(
      `inject of ${user} has a token that is not defined. Look for two files that import each other; keep the token in a file of its own.`,
    );
  return (moduleRef) =>
    openerOf(async () => {
      const providers = inject.map((token) => provider(moduleRef, token, user));
      return executor(...(providers as never[])); // only the application knows their types
    }, user);
}

function provider(moduleRef: ModuleRef, token: InjectionToken, user: string): unknown {
  try {
    return moduleRef.get<unknown>(token, { strict: false });
  } catch (error) {
    throw new LockError(
      `${user} found no provider ${nameOfToken(token)} in the application. Import the module that provides it, or correct the option inject.`,
      { cause: error },
    );
  }
}

function nameOfToken(token: InjectionToken): string {
  return typeof token === 'function' ? token.name : String(token);
}
