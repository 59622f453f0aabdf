import 'reflect-metadata';
import { PassThrough, type Writable } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import {
  BadRequestException,
  Controller,
  Get,
  Param,
  ParseIntPipe,
  Res,
  StreamableFile,
  UseGuards,
  UseInterceptors,
  type CanActivate,
} from '@nestjs/common';
import { APP_INTERCEPTOR } from '@nestjs/core';
import { LockContext, LockInterceptor, LockModule, memoryStore } from '../../lib/index.js';
import { logged, platforms, startHttp } from './support/applications.js';
import { Gate } from '../module/gate.js';
import { orderKey, Shout } from './support/interceptors.js';

const text = new TextDecoder();

describe.each(platforms)('LockInterceptor on HTTP handlers, %s', (_, adapter) => {
  it('B67 LockInterceptor makes the key from the execution context, and the handler can read its lock', async () => {
    @Controller('orders')
    class Orders {
      @Get(':id')
      @UseInterceptors(LockInterceptor(async (context) => orderKey(context)))
      async ship(@Param('id') id: string) {
        await Promise.resolve();
        return `${id} under ${LockContext.current()?.key}`;
      }
    }
    const app = await startHttp(adapter(), { controllers: [Orders] });

    expect(await (await app.get('/orders/7')).text()).toBe('7 under order:7');
  });

  it('B67 requests with the same key run one after the other, requests with other keys do not wait', async () => {
    const gate = new Gate();
    @Controller('orders')
    class Orders {
      @Get(':id')
      @UseInterceptors(LockInterceptor(orderKey, { wait: '1m' }))
      async ship() {
        running++;
        most = Math.max(most, running);
        if (running === 2) void together.pass();
        await gate.pass();
        running--;
      }
    }
    const together = new Gate();
    let [running, most] = [0, 0];
    const app = await startHttp(adapter(), { controllers: [Orders] });

    const first = app.get('/orders/7');
    await gate.reached;
    const refused = app.store.refused();
    const second = app.get('/orders/7');
    await refused;
    expect(running).toBe(1);
    const other = app.get('/orders/8');
    await together.reached;
    gate.open();

    expect((await Promise.all([first, second, other])).map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(gate.arrivals).toBe(3);
    expect(most).toBe(2);
  });

  it('B67 the lock is held until the response is sent', async () => {
    @Controller()
    class Orders {
      @Get('fine')
      @UseInterceptors(LockInterceptor('fine'))
      async fine() {
        return 'fine';
      }

      @Get('fails')
      @UseInterceptors(LockInterceptor('fails'))
      async fails() {
        throw new BadRequestException('not like this');
      }
    }
    const app = await startHttp(adapter(), { controllers: [Orders] });
    const sentBeforeRelease: boolean[] = [];
    app.locks.events.on('released', () => sentBeforeRelease.push(app.response.writableFinished));

    expect(await (await app.get('/fine')).text()).toBe('fine');
    await app.happened('released', 1);
    const failed = await app.get('/fails');
    expect([failed.status, await failed.json()]).toMatchObject([400, { message: 'not like this' }]);
    await app.happened('released', 2);

    expect(sentBeforeRelease).toEqual([true, true]);
    const { lastRun } = await app.locks.admin.inspect('fails');
    expect(lastRun?.outcome).toBe('failed');
  });

  it.each(['streamed', 'piped'])('B67 the lock is held until a %s response is sent', async (path) => {
    const body = new PassThrough();
    @Controller()
    class Reports {
      @Get('streamed')
      @UseInterceptors(LockInterceptor('report'))
      async streamed() {
        return new StreamableFile(body);
      }

      @Get('piped')
      @UseInterceptors(LockInterceptor('report'))
      async piped(@Res() response: Writable & { raw?: Writable }) {
        body.pipe(response.raw ?? response);
      }

      @Get('other')
      @UseInterceptors(LockInterceptor('report'))
      async other() {
        throw new Error('It ran while the first response was being sent.');
      }
    }
    const app = await startHttp(adapter(), { controllers: [Reports] });
    body.write('first');
    const reader = (await app.get(`/${path}`)).body!.getReader();
    expect(text.decode((await reader.read()).value)).toBe('first');

    await app.get('/other');
    expect(app.events).toEqual(['acquired', 'busy']);
    body.end('last');
    expect(text.decode((await reader.read()).value)).toBe('last');
    await app.happened('released');
    expect(await app.locks.admin.isLocked('report')).toBe(false);
  });

  it('B67 guards run before the lock is acquired, and pipes run while it is held', async () => {
    class Nobody implements CanActivate {
      canActivate = () => false;
    }
    @Controller('orders')
    class Orders {
      @Get('guarded/:id')
      @UseGuards(Nobody)
      @UseInterceptors(LockInterceptor(orderKey))
      async guarded() {}

      @Get('piped/:id')
      @UseInterceptors(LockInterceptor(orderKey))
      async piped(@Param('id', ParseIntPipe) id: number) {
        return typeof id;
      }
    }
    const app = await startHttp(adapter(), { controllers: [Orders] });

    expect((await app.get('/orders/guarded/7')).status).toBe(403);
    expect(app.store.attempts).toBe(0);
    expect((await app.get('/orders/piped/x')).status).toBe(400);
    await app.happened('released', 1);
    expect(await (await app.get('/orders/piped/7')).text()).toBe('number');
    await app.happened('released', 2);
  });

  it.each(['outside', 'inside'])('B67 an interceptor %s LockInterceptor gets the answer', async (side) => {
    const lock = LockInterceptor('fine');
    @Controller()
    class Orders {
      @Get('fine')
      @UseInterceptors(...(side === 'outside' ? [Shout, lock] : [lock, Shout]))
      async fine() {
        return `under ${LockContext.current()?.key}`;
      }
    }
    const app = await startHttp(adapter(), { controllers: [Orders] });

    expect(await (await app.get('/fine')).text()).toBe('UNDER FINE');
  });

  it('B67 a LockInterceptor as APP_INTERCEPTOR locks every handler of the application', async () => {
    const gate = new Gate();
    @Controller()
    class Orders {
      @Get('slow')
      async slow() {
        await gate.pass();
      }

      @Get('other')
      async other() {}
    }
    const app = await startHttp(adapter(), {
      controllers: [Orders],
      providers: [{ provide: APP_INTERCEPTOR, useClass: LockInterceptor('one at a time') }],
    });
    const answer = app.get('/slow');
    await gate.reached;
    expect((await app.get('/other')).status).toBe(500);
    gate.open();

    expect((await answer).status).toBe(200);
    expect(logged.join()).toContain('Lock "one at a time" was not acquired within');
  });

  it('B4 LockInterceptor uses the LockModule that its options name', async () => {
    @Controller()
    class Orders {
      @Get('key')
      @UseInterceptors(LockInterceptor('key', { module: 'weak' }))
      async key() {
        return String(await app.locks.admin.isLocked('key'));
      }
    }
    const app = await startHttp(adapter(), {
      controllers: [Orders],
      imports: [LockModule.forRoot({ name: 'weak', store: memoryStore() })],
    });

    expect(await (await app.get('/key')).text()).toBe('false');
    expect(app.store.attempts).toBe(0);
  });

  it('B73 while locking is disabled, handlers run unlocked and can read the key of their lock', async () => {
    @Controller()
    class Orders {
      @Get('key')
      @UseInterceptors(LockInterceptor('key'))
      async key() {
        await Promise.resolve();
        return `${LockContext.current()?.key} ${LockContext.current()?.enabled}`;
      }
    }
    const app = await startHttp(adapter(), { controllers: [Orders], locks: { enabled: false } });

    expect(await (await app.get('/key')).text()).toBe('key false');
    expect(app.store.attempts).toBe(0);
  });

  it('B75 if the store or the key function fails, no handler runs', async () => {
    const gate = new Gate();
    @Controller()
    class Orders {
      @Get('fails')
      @UseInterceptors(LockInterceptor('key'))
      async fails() {
        await gate.pass();
      }

      @Get('no-key')
      @UseInterceptors(LockInterceptor(() => undefined as never))
      async noKey() {
        await gate.pass();
      }
    }
    const app = await startHttp(adapter(), { controllers: [Orders] });
    app.store.failure = new Error('the disk is full');

    expect((await app.get('/fails')).status).toBe(500);
    expect(logged.join()).toContain('The lock store failed at the acquisition of "key"');
    expect((await app.get('/no-key')).status).toBe(500);
    expect(logged.join()).toContain(
      'The key function of LockInterceptor() on Orders.noKey returned no key. A lock key must be a string',
    );
    expect(gate.arrivals).toBe(0);
  });
});
