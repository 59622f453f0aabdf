import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { Controller, Get, Sse, UseInterceptors, type MessageEvent } from '@nestjs/common';
import { Observable, ReplaySubject } from 'rxjs';
import { LockContext, LockInterceptor } from '../../lib/index.js';
import { logged, platforms, startHttp } from './support/applications.js';
import { Gate } from '../module/gate.js';

const text = new TextDecoder();

describe.each(platforms)('LockInterceptor on @Sse() handlers, %s', (_, adapter) => {
  it('B67 the lock is held until the event stream completes', async () => {
    const values = new ReplaySubject<MessageEvent>();
    @Controller()
    class Feed {
      @Sse('feed')
      @UseInterceptors(LockInterceptor('feed'))
      feed() {
        keys.push(LockContext.current()?.key);
        return values;
      }

      @Get('other')
      @UseInterceptors(LockInterceptor('feed'))
      async other() {
        throw new Error('It ran while the stream was open.');
      }
    }
    const keys: (string | undefined)[] = [];
    const app = await startHttp(adapter(), { controllers: [Feed] });
    const reader = (await app.get('/feed')).body!.getReader();
    await app.happened('acquired');
    values.next({ data: 'first' });
    await read(reader, 'data: first');
    await app.get('/other');
    expect(app.events).toEqual(['acquired', 'busy']);

    values.complete();
    await app.happened('released');
    expect(keys).toEqual(['feed']);
  });

  it('B67 the lock is held until the client has left and the stream is closed', async () => {
    const values = new ReplaySubject<MessageEvent>();
    @Controller()
    class Feed {
      @Sse('feed')
      @UseInterceptors(LockInterceptor('feed'))
      feed() {
        return values;
      }
    }
    const app = await startHttp(adapter(), { controllers: [Feed] });
    let observedAtRelease: boolean | undefined;
    app.locks.events.on('released', () => (observedAtRelease = values.observed));
    const client = app.client('/feed');
    const reader = (await client.answer).body!.getReader();
    await app.happened('acquired');
    values.next({ data: 'first' });
    await read(reader, 'data: first');
    expect(await app.locks.admin.isLocked('feed')).toBe(true);

    await client.leave();
    await app.happened('released');
    expect(observedAtRelease).toBe(false);
    expect(logged).toEqual([]);
  });

  it('B67 an event stream ends when its lock is lost', async () => {
    const values = new ReplaySubject<MessageEvent>();
    @Controller()
    class Feed {
      @Sse('feed')
      @UseInterceptors(LockInterceptor('feed', { ttl: 600 }))
      feed() {
        return values;
      }
    }
    const app = await startHttp(adapter(), { controllers: [Feed] });
    const reader = (await app.get('/feed')).body!.getReader();
    await app.happened('acquired');
    await app.store.holdElsewhere('feed');

    await read(reader); // Reads to the end of the stream.
    expect(values.observed).toBe(false);
    expect(logged.join()).toContain('was lost: ');
  });

  it('B67 a handler whose client leaves before the stream begins keeps the lock until it returns', async () => {
    const gate = new Gate();
    const values = new ReplaySubject<MessageEvent>();
    @Controller()
    class Feed {
      @Sse('feed')
      @UseInterceptors(LockInterceptor('feed'))
      async feed(): Promise<Observable<MessageEvent>> {
        await gate.pass();
        return new Observable((subscriber) => {
          subscriber.next({ data: 'too late' });
          return values.subscribe(subscriber);
        });
      }
    }
    const app = await startHttp(adapter(), { controllers: [Feed] });
    const client = app.client('/feed');
    await gate.reached;
    await client.leave();
    expect(await app.locks.tryAcquire('feed')).toBeNull();

    gate.open();
    await app.happened('released');
    expect(values.observed).toBe(false);
  });

  it('B67 a silent stream whose client has left is closed after a ttl, with a warning', async () => {
    const values = new ReplaySubject<MessageEvent>();
    @Controller()
    class Feed {
      @Sse('feed')
      @UseInterceptors(LockInterceptor('feed', { ttl: 600 }))
      feed() {
        return values;
      }
    }
    const app = await startHttp(adapter(), { controllers: [Feed] });
    const client = app.client('/feed');
    await client.answer;
    await app.happened('acquired');
    await client.leave();
    expect(await app.locks.admin.isLocked('feed')).toBe(true);

    await app.happened('released');
    expect(values.observed).toBe(false);
    expect(logged).toHaveLength(1);
    expect(logged[0]).toContain('was not read for as long as the ttl');
  });
});

/** Reads from the stream until the text `until` has arrived, or to the end of the stream. */
async function read(reader: ReadableStreamDefaultReader<Uint8Array>, until?: string): Promise<void> {
  for (let received = ''; ;) {
    const { done, value } = await reader.read();
    received += text.decode(value);
    if (until === undefined ? done : received.includes(until)) return;
    if (done) throw new Error(`The stream ended without "${until}".`);
  }
}
