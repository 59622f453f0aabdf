import 'reflect-metadata';
import { PassThrough } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { Controller, Get, StreamableFile, UseInterceptors } from '@nestjs/common';
import { startWith, Subject, tap, type Observable } from 'rxjs';
import { LockInterceptor } from '../../lib/index.js';
import { logged, platforms, startHttp } from './support/applications.js';
import { Gate } from '../module/gate.js';
import { TimeOut } from './support/interceptors.js';

describe.each(platforms)(
  'LockInterceptor when the client or a time-out ends the request, %s',
  (_, adapter) => {
    it.each(['returns', 'fails'])(
      'B67 a time-out does not release the lock of a handler that goes on and then %s',
      async (ending) => {
        const gate = new Gate();
        const timeOut = new TimeOut();
        @Controller()
        class Orders {
          @Get('slow')
          @UseInterceptors(timeOut, LockInterceptor('slow'))
          async slow() {
            await gate.pass();
            if (ending === 'fails') throw new Error('nobody hears this');
          }
        }
        const app = await startHttp(adapter(), { controllers: [Orders] });
        const answer = app.get('/slow');
        await gate.reached;

        timeOut.expire();
        expect((await answer).status).toBe(408);
        expect(await app.locks.tryAcquire('slow')).toBeNull();
        gate.open();
        await app.happened('released');
        const { lastRun } = await app.locks.admin.inspect('slow');
        expect(lastRun?.outcome).toBe(ending === 'fails' ? 'failed' : 'done');
      },
    );

    it('B67 after a time-out, the lock is renewed as long as the handler runs', async () => {
      const gate = new Gate();
      const timeOut = new TimeOut();
      @Controller()
      class Orders {
        @Get('slow')
        @UseInterceptors(timeOut, LockInterceptor('slow', { ttl: 600 }))
        async slow() {
          await gate.pass();
        }
      }
      const app = await startHttp(adapter(), { controllers: [Orders] });
      const answer = app.get('/slow');
      await gate.reached;
      timeOut.expire();
      await answer;

      await app.store.renewed(5);
      expect(await app.locks.admin.isLocked('slow')).toBe(true);
      gate.open();
      await app.happened('released');
    });

    it('B67 a file that a handler returns after the time-out is closed', async () => {
      const gate = new Gate();
      const timeOut = new TimeOut();
      const file = new PassThrough();
      @Controller()
      class Reports {
        @Get('slow')
        @UseInterceptors(timeOut, LockInterceptor('slow'))
        async slow() {
          await gate.pass();
          return new StreamableFile(file);
        }
      }
      const app = await startHttp(adapter(), { controllers: [Reports] });
      const answer = app.get('/slow');
      await gate.reached;
      timeOut.expire();
      await answer;
      gate.open();

      await app.happened('released');
      expect(file.destroyed).toBe(true);
    });

    it('B67 a time-out ends an Observable that has begun, and releases the lock', async () => {
      const gate = new Gate();
      const timeOut = new TimeOut();
      const values = new Subject<string>();
      @Controller()
      class Orders {
        @Get('slow')
        @UseInterceptors(timeOut, LockInterceptor('slow'))
        slow(): Observable<string> {
          return values.pipe(
            startWith('first'),
            tap(() => void gate.pass()),
          );
        }
      }
      const app = await startHttp(adapter(), { controllers: [Orders] });
      const answer = app.get('/slow');
      await gate.reached;

      timeOut.expire();
      expect((await answer).status).toBe(408);
      await app.happened('released');
      expect(values.observed).toBe(false);
    });

    it('B67 a client that leaves does not release the lock while the handler runs', async () => {
      const gate = new Gate();
      @Controller()
      class Orders {
        @Get('slow')
        @UseInterceptors(LockInterceptor('slow'))
        async slow() {
          await gate.pass();
        }
      }
      const app = await startHttp(adapter(), { controllers: [Orders] });
      const client = app.client('/slow');
      await gate.reached;

      await client.leave();
      expect(await app.locks.tryAcquire('slow')).toBeNull();
      gate.open();
      await app.happened('released');
      expect(await app.locks.admin.isLocked('slow')).toBe(false);
    });

    it('B67 a client that leaves during a streamed response releases the lock', async () => {
      const file = new PassThrough();
      @Controller()
      class Reports {
        @Get('streamed')
        @UseInterceptors(LockInterceptor('report'))
        async streamed() {
          return new StreamableFile(file);
        }
      }
      const app = await startHttp(adapter(), { controllers: [Reports] });
      file.write('first');
      const client = app.client('/streamed');
      await (await client.answer).body!.getReader().read();
      expect(await app.locks.admin.isLocked('report')).toBe(true);

      await client.leave();
      await app.happened('released');
    });

    it('B21 if the client leaves while its request waits for the lock, the wait ends and no handler runs', async () => {
      const gate = new Gate();
      @Controller()
      class Orders {
        @Get('wait')
        @UseInterceptors(LockInterceptor('busy', { wait: Infinity }))
        async wait() {
          await gate.pass();
        }
      }
      const app = await startHttp(adapter(), { controllers: [Orders] });
      const { release } = await app.store.holdElsewhere('busy');
      const refused = app.store.refused();
      const client = app.client('/wait');
      await refused;

      await client.leave();
      await release();
      // The queue of the key has no waiter left, so this acquisition succeeds at once.
      await using lock = await app.locks.acquire('busy', { wait: Infinity });
      expect([lock.held, gate.arrivals]).toEqual([true, 0]);
      expect(app.events).toEqual(['acquired']);
      expect(logged).toEqual([]);
    });

    it('B67 if a request times out while it waits for the lock, the wait ends and no handler runs', async () => {
      const gate = new Gate();
      const timeOut = new TimeOut();
      @Controller()
      class Orders {
        @Get('wait')
        @UseInterceptors(timeOut, LockInterceptor('busy', { wait: Infinity }))
        async wait() {
          await gate.pass();
        }
      }
      const app = await startHttp(adapter(), { controllers: [Orders] });
      const { release } = await app.store.holdElsewhere('busy');
      const refused = app.store.refused();
      const answer = app.get('/wait');
      await refused;

      timeOut.expire();
      expect((await answer).status).toBe(408);
      await release();
      await using lock = await app.locks.acquire('busy', { wait: Infinity });
      expect([lock.held, gate.arrivals]).toEqual([true, 0]);
    });

    it('B67 LockInterceptor leaves no listener on the response of a request that has ended', async () => {
      @Controller()
      class Orders {
        @Get('locked')
        @UseInterceptors(LockInterceptor('fine'))
        async locked() {}

        @Get('unlocked')
        async unlocked() {}
      }
      const app = await startHttp(adapter(), { controllers: [Orders] });
      const listenersAfter = async (path: string) => {
        await app.get(path);
        if (path === '/locked') await app.happened('released');
        const { response } = app;
        return response.eventNames().map((event) => [event, response.listenerCount(event)]);
      };

      expect(await listenersAfter('/locked')).toEqual(await listenersAfter('/unlocked'));
    });
  },
);
