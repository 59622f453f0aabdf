import 'reflect-metadata';
import type { Writable } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { Controller, Get, Res, Sse, UseFilters, UseInterceptors } from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import { MessagePattern } from '@nestjs/microservices';
import { lastValueFrom, NEVER } from 'rxjs';
import {
  LockExceptionFilter,
  Locked,
  LockInterceptor,
  LockNotAcquiredError,
  type LockRecord,
} from '../../lib/index.js';
import { logged, platforms, startHttp, startMicroservice } from './support/applications.js';
import { startResolver } from './support/resolvers.js';

const MESSAGE = 'The resource is in use. Try again later.';

describe.each(platforms)('LockExceptionFilter over HTTP, %s', (_, adapter) => {
  it('B67 LockExceptionFilter answers 409 with Retry-After and shows neither key nor holder', async () => {
    @Controller()
    class Orders {
      @Get('interceptor')
      @UseInterceptors(LockInterceptor('order:7'))
      async interceptor() {}

      @Get('decorator')
      @Locked('order:7')
      async decorator() {}
    }
    const app = await startHttp(adapter(), {
      controllers: [Orders],
      providers: [{ provide: APP_FILTER, useClass: LockExceptionFilter }],
    });
    await app.store.holdElsewhere('order:7', 20_000);

    for (const path of ['/interceptor', '/decorator']) {
      const answer = await app.get(path);
      expect(answer.status).toBe(409);
      expect(answer.headers.get('retry-after')).toBe('20');
      expect(await answer.json()).toEqual({ statusCode: 409, message: MESSAGE, error: 'Conflict' });
    }
  });

  it.each([
    [409, 'Conflict'],
    [423, 'Locked'],
    [429, 'Too Many Requests'],
    [503, 'Service Unavailable'],
  ] as const)('B67 LockExceptionFilter can answer with status %i', async (status, error) => {
    @Controller()
    class Orders {
      @Get()
      @UseFilters(new LockExceptionFilter({ status }))
      @UseInterceptors(LockInterceptor('busy'))
      async get() {}
    }
    const app = await startHttp(adapter(), { controllers: [Orders] });
    await app.store.holdElsewhere('busy');
    const answer = await app.get('/');

    expect(answer.status).toBe(status);
    expect(await answer.json()).toEqual({ statusCode: status, message: MESSAGE, error });
  });

  it.each([
    ['at least one second', 5, '1'],
    ['at most a minute', 3_600_000, '60'],
    ['a minute for a lock that never expires', Infinity, '60'],
  ])('B67 Retry-After is %s', async (_when, remaining, seconds) => {
    @Controller()
    class Orders {
      @Get()
      @UseFilters(LockExceptionFilter)
      async get() {
        throw new LockNotAcquiredError('k', { waited: 0, holder: holderFor(remaining) });
      }
    }
    const app = await startHttp(adapter(), { controllers: [Orders] });

    expect((await app.get('/')).headers.get('retry-after')).toBe(seconds);
  });

  it.each([
    ["the duration of the key's last run", 1500, 30_000, '2'],
    ['the rest of the lease, if that is less', 40_000, 30_000, '30'],
    ['at least a second', 1, 30_000, '1'],
  ])('E17 Retry-After is %s', async (_when, lastRun, remaining, seconds) => {
    @Controller()
    class Orders {
      @Get()
      @UseFilters(LockExceptionFilter)
      async get() {
        throw new LockNotAcquiredError('k', { waited: 0, holder: holderFor(remaining), lastRun });
      }
    }
    const app = await startHttp(adapter(), { controllers: [Orders] });

    expect((await app.get('/')).headers.get('retry-after')).toBe(seconds);
  });

  it('E17 Retry-After is one second for a key with short runs, whatever its ttl', async () => {
    @Controller()
    class Orders {
      @Get()
      @UseFilters(LockExceptionFilter)
      @Locked('order:7', { ttl: '30s' })
      async get() {
        return 'done';
      }
    }
    const app = await startHttp(adapter(), { controllers: [Orders] });
    expect((await app.get('/')).status).toBe(200);
    await app.store.holdElsewhere('order:7', 30_000);

    expect((await app.get('/')).headers.get('retry-after')).toBe('1');
  });

  it('B67 Retry-After is one second if the holder is unknown', async () => {
    @Controller()
    class Orders {
      @Get()
      @UseFilters(LockExceptionFilter)
      async get() {
        throw new LockNotAcquiredError('k', { waited: 0 });
      }
    }
    const app = await startHttp(adapter(), { controllers: [Orders] });

    expect((await app.get('/')).headers.get('retry-after')).toBe('1');
  });

  it('B67 LockExceptionFilter ends a response that has already begun', async () => {
    @Controller()
    class Orders {
      @Get()
      @UseFilters(LockExceptionFilter)
      async get(@Res() response: Writable & { raw?: Writable }) {
        (response.raw ?? response).write('first');
        throw new LockNotAcquiredError('k', { waited: 0 });
      }
    }
    const app = await startHttp(adapter(), { controllers: [Orders] });

    expect(await (await app.get('/')).text()).toBe('first');
    expect(logged).toEqual([]);
  });

  it('B67 LockExceptionFilter ends an event stream whose lock is busy, since its headers may be sent already', async () => {
    let runs = 0;
    @Controller()
    class Feed {
      @Sse()
      @UseFilters(LockExceptionFilter)
      @UseInterceptors(LockInterceptor('busy'))
      feed() {
        runs++;
        return NEVER;
      }
    }
    const app = await startHttp(adapter(), { controllers: [Feed] });
    await app.store.holdElsewhere('busy');

    await (await app.get('/')).text();
    expect(runs).toBe(0);
  });
});

describe('LockExceptionFilter in other contexts', () => {
  it('B67 in microservices, LockExceptionFilter answers with an error that has a code and does not show the key', async () => {
    @Controller()
    class Orders {
      @MessagePattern('interceptor')
      @UseFilters(LockExceptionFilter)
      @UseInterceptors(LockInterceptor('busy'))
      async interceptor() {}

      @MessagePattern('decorator')
      @UseFilters(LockExceptionFilter)
      @Locked('busy')
      async decorator() {}
    }
    const { running, client } = await startMicroservice({ controllers: [Orders] });
    await running.store.holdElsewhere('busy');

    for (const pattern of ['interceptor', 'decorator'])
      await expect(lastValueFrom(client.send(pattern, {}))).rejects.toEqual({
        status: 'error',
        code: 'LOCK_NOT_ACQUIRED',
        message: MESSAGE,
      });
  });

  it('B67 in commands and other contexts, LockExceptionFilter rethrows the error', async () => {
    class Resolver {
      @UseFilters(LockExceptionFilter)
      async resolve() {
        throw new LockNotAcquiredError('k', { waited: 0 });
      }
    }
    const { resolve } = await startResolver(Resolver, 'resolve', 'command');

    await expect(resolve()).rejects.toThrow(LockNotAcquiredError);
  });

  it('B67 LockExceptionFilter refuses a status other than 409, 423, 429 and 503', () => {
    expect(() => new LockExceptionFilter({ status: 418 as never })).toThrow(
      'The option "status" of LockExceptionFilter must be one of 409, 423, 429, 503, but it is 418.',
    );
    expect(() => new LockExceptionFilter({ code: 409 } as never)).toThrow('does not know the option "code"');
  });
});

function holderFor(remaining: number): LockRecord {
  const date = new Date();
  const times = {
    startedAt: date,
    renewedAt: date,
    expiresAt: remaining === Infinity ? null : date,
    remaining,
  };
  return { key: 'k', label: 'api-2:77', fencingToken: 1, ...times };
}
