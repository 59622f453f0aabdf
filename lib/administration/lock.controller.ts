import {
  BadRequestException,
  Body,
  Controller,
  Delete,
  Get,
  HttpCode,
  Inject,
  Param,
  Post,
  Query,
  ServiceUnavailableException,
  UseGuards,
  type CanActivate,
  type Type,
} from '@nestjs/common';
import type { Duration } from '../options/duration.js';
import type { LockInspection, LockPage } from '../interfaces/lock-record.interface.js';
import { LockError, LockStoreError } from '../lock.errors.js';
import { LockAdmin } from './lock-admin.js';
import { assertKnownOptions } from '../options/known-options.js';
import { getLockAdminToken } from '../lock.tokens.js';

/** Options of {@link LockController}. @publicApi */
export interface LockControllerOptions {
  /** The guards that decide which requests may see and change locks: one or more. */
  guards: readonly (Type<CanActivate> | CanActivate)[];
  /** The path of the controller. Default `locks`. */
  path?: string | undefined;
  /** The name of the `LockModule` to use. Default: the module without a name. */
  module?: string | undefined;
}

/**
 * Makes a controller that shows locks over HTTP, and frees, pauses and purges them, behind
 * guards of the application. It is reachable only if a module lists it among its
 * `controllers`.
 *
 * - `GET locks?limit=&after=` lists the locks that are held.
 * - `GET locks/KEY` inspects a key.
 * - `POST locks/KEY/release` with a `reason` frees a key by force.
 * - `POST locks/KEY/pause` and `DELETE locks/KEY/pause` pause and resume a key.
 * - `POST locks/purge` with `olderThan` deletes keys that were not used for that long.
 *
 * Keys are URI components.
 *
 * For example: `@Module({ controllers: [LockController({ guards: [AdminGuard] })] })`
 *
 * @throws LockError without guards
 * @publicApi
 */
export function LockController(options: LockControllerOptions): Type {
  assertKnownOptions('LockController()', options, ['guards', 'path', 'module']);
  const { guards, path = 'locks', module } = options;
  if (!Array.isArray(guards) || guards.length === 0)
    throw new LockError(
      'LockController() needs guards: a request that reaches it can take locks away from running work. Give it LockController({ guards: [AdminGuard] }).',
    );

  @Controller(path)
  @UseGuards(...(guards as (Type<CanActivate> | CanActivate)[]))
  class LockAdminController {
    constructor(@Inject(getLockAdminToken(module)) private readonly locks: LockAdmin) {}

    @Get()
    list(@Query('limit') limit?: string, @Query('after') after?: string): Promise<LockPage> {
      return answer(() => this.locks.list({ limit: limit === undefined ? 100 : Number(limit), after }));
    }

    @Post('purge')
    @HttpCode(200)
    purge(@Body('olderThan') olderThan: Duration): Promise<{ purged: number }> {
      return answer(async () => ({ purged: await this.locks.purge({ olderThan }) }));
    }

    @Get(':key')
    inspect(@Param('key') key: string): Promise<LockInspection> {
      return answer(() => this.locks.inspect(key));
    }

    @Post(':key/release')
    @HttpCode(200)
    release(@Param('key') key: string, @Body('reason') reason: string): Promise<{ released: boolean }> {
      return answer(async () => ({ released: await this.locks.forceRelease(key, { reason }) }));
    }

    @Post(':key/pause')
    @HttpCode(200)
    pause(@Param('key') key: string): Promise<{ paused: boolean }> {
      return answer(async () => ({ paused: await this.locks.pause(key) }));
    }

    @Delete(':key/pause')
    resume(@Param('key') key: string): Promise<{ resumed: boolean }> {
      return answer(async () => ({ resumed: await this.locks.resume(key) }));
    }
  }
  return LockAdminController;
}

/**
 * Turns errors into HTTP errors. The answer to a wrong request shows the message of the error.
 * The answer after a failure of the store does not, since the database's messages may name
 * hosts.
 */
async function answer<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof LockStoreError)
      throw new ServiceUnavailableException('The lock store failed.', { cause: error });
    if (error instanceof LockError) throw new BadRequestException(error.message, { cause: error });
    throw error;
  }
}
