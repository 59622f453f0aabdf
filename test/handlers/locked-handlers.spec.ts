import 'reflect-metadata';
import { PassThrough } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import {
  BadRequestException,
  Controller,
  Get,
  Param,
  ParseIntPipe,
  Sse,
  StreamableFile,
  UseInterceptors,
  type MessageEvent,
} from '@nestjs/common';
import { ReplaySubject } from 'rxjs';
import { LockContext, Locked } from '../../lib/index.js';
import { logged, platforms, startHttp } from './support/applications.js';
import { Gate } from '../module/gate.js';
import { Shout, TimeOut } from './support/interceptors.js';

const text = new TextDecoder();

describe.each(platforms)('@Locked() on HTTP handlers, %s', (_, adapter) => {
  it('B62 @Locked() works above and below the decorators of routes, parameters and interceptors', async () => {
    @Controller()
    class Orders {
      @Locked({ key: (id: number) => `above:${id}` })
      @Get('above/:id')
      @UseInterceptors(Shout)
      async above(@Param('id', ParseIntPipe) id: number) {
        return `${typeof id} under ${LockContext.current()?.key}`;
      }

      @Get('below/:id')
      @UseInterceptors(Shout)
      @Locked({ key: (id: number) => `below:${id}` })
      async below(@Param('id', ParseIntPipe) id: number) {
        return `${typeof id} under ${LockContext.current()?.key}`;
      }
    }
    const app = await startHttp(adapter(), { controllers: [Orders] });

    expect(await (await app.get('/above/7')).text()).toBe('NUMBER UNDER ABOVE:7');
    expect(await (await app.get('/below/7')).text()).toBe('NUMBER UNDER BELOW:7');
    expect((await app.get('/below/x')).status).toBe(400);
    expect(app.events).toEqual(['acquired', 'released', 'acquired', 'released']);
  });

  it('B59 the client gets the error of a locked handler, and the lock is released', async () => {
    @Controller()
    class Orders {
      @Get()
      @Locked('fails')
      async fails() {
        throw new BadRequestException('not like this');
      }
    }
    const app = await startHttp(adapter(), { controllers: [Orders] });

    expect((await app.get('/')).status).toBe(400);
    expect(app.events).toEqual(['acquired', 'released']);
  });

  it('B67 a time-out does not release the lock while the locked handler runs', async () => {
    const gate = new Gate();
    const timeOut = new TimeOut();
    @Controller()
    class Orders {
      @Get()
      @UseInterceptors(timeOut)
      @Locked('slow')
      async slow() {
        await gate.pass();
      }
    }
    const app = await startHttp(adapter(), { controllers: [Orders] });
    const answer = app.get('/');
    await gate.reached;
    timeOut.expire();

    expect((await answer).status).toBe(408);
    expect(await app.locks.tryAcquire('slow')).toBeNull();
    gate.open();
    await app.happened('released');
  });

  it('B67 the lock is held until a returned StreamableFile is read', async () => {
    const file = new PassThrough();
    @Controller()
    class Reports {
      @Get()
      @Locked('report')
      async report() {
        return new StreamableFile(file);
      }
    }
    const app = await startHttp(adapter(), { controllers: [Reports] });
    file.write('first');
    const reader = (await app.get('/')).body!.getReader();
    expect(text.decode((await reader.read()).value)).toBe('first');
    expect(await app.locks.tryAcquire('report')).toBeNull();

    file.end('last');
    expect(text.decode((await reader.read()).value)).toBe('last');
    await app.happened('released');
  });

  it('B67 the lock of a StreamableFile is released when its client leaves', async () => {
    const file = new PassThrough();
    @Controller()
    class Reports {
      @Get()
      @Locked('report')
      async report() {
        return new StreamableFile(file);
      }
    }
    const app = await startHttp(adapter(), { controllers: [Reports] });
    file.write('first');
    const client = app.client('/');
    await (await client.answer).body!.getReader().read();
    expect(await app.locks.admin.isLocked('report')).toBe(true);

    await client.leave();
    await app.happened('released');
  });

  it('B67 the lock of an event stream is held until its client leaves', async () => {
    const values = new ReplaySubject<MessageEvent>();
    @Controller()
    class Feed {
      @Sse()
      @Locked('feed')
      async feed() {
        return values;
      }
    }
    const app = await startHttp(adapter(), { controllers: [Feed] });
    const client = app.client('/');
    const reader = (await client.answer).body!.getReader();
    await app.happened('acquired');
    values.next({ data: 'first' });
    await reader.read();
    expect(await app.locks.tryAcquire('feed')).toBeNull();

    await client.leave();
    await app.happened('released');
    expect(values.observed).toBe(false);
    expect(logged).toEqual([]);
  });

  it('B67 an event stream under @Locked() ends when its lock is lost', async () => {
    const values = new ReplaySubject<MessageEvent>();
    @Controller()
    class Feed {
      @Sse()
      @Locked('feed', { ttl: 600 })
      feed() {
        return values;
      }
    }
    const app = await startHttp(adapter(), { controllers: [Feed] });
    const answer = await app.get('/');
    await app.happened('acquired');
    await app.store.holdElsewhere('feed');

    await answer.text();
    expect(values.observed).toBe(false);
  });
});
