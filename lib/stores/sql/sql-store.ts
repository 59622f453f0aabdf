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
 * How the store reaches the database: an executor, or a function that makes an executor from
 * providers of the application.
 *
 * @publicApi
 */
export type ExecutorChoice<Transaction = unknown> =
  | {
      /** The executor, such as `fromPg(pool)`. */
      executor: SqlExecutor<Transaction>;
      inject?: undefined;
    }
  | {
      /**
       * The tokens of the providers that are passed to `executor`, such as `[PG_POOL]`. Any
       * module of the application may provide them.
       */
      inject: InjectionToken[];
      /**
       * Makes the executor from the injected providers, such as `fromPg`. The store calls it
       * when it opens, at start.
       */
      executor: (...providers: never[]) => SqlExecutor<Transaction> | Promise<SqlExecutor<Transaction>>;
    };

/**
 * Keeps locks in a table of PostgreSQL, MySQL, MariaDB or SQLite, through the application's
 * client.
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
 * Keeps locks in connections that the store opens: advisory locks of PostgreSQL, `GET_LOCK` of
 * MySQL and MariaDB. A lock lasts as long as its connection, without ttl and renewal, and
 * needs no table.
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
      `With inject, ${user} needs a list of providers, and a function as executor that receives them: { inject: [PG_POOL], executor: fromPg }.`,
    );
  if (inject.some((token: unknown) => token === undefined || token === null))
    throw new LockError(
      `inject of ${user} has a token that is not defined. Look for two files that import each other, and move the token to a separate file.`,
    );
  return (moduleRef) =>
    openerOf(async () => {
      const providers = inject.map((token) => provider(moduleRef, token, user));
      // Only the application knows the types of its providers.
      return executor(...(providers as never[]));
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
