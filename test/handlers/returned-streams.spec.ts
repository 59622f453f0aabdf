import 'reflect-metadata';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Injectable, type CallHandler, type ExecutionContext, type INestApplication } from '@nestjs/common';
import { Test } from '@nestjs/testing';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { concat, defer, lastValueFrom, NEVER, of, take, type Observable } from 'rxjs';
import {
  Locked,
  LockInterceptor,
  LockLostError,
  LockModule,
  LockService,
  memoryStore,
} from '../../lib/index.js';
import { withoutLocks } from '../../lib/testing/index.js';
import { Gate } from '../module/gate.js';

@Injectable()
class Streams {
  subscriptions = 0;

  @Locked('web')
  async web(): Promise<ReadableStream<string>> {
    return new ReadableStream({
      start(controller) {
        controller.enqueue('item');
        controller.close();
      },
    });
  }

  @Locked('generator')
  async generator(): Promise<AsyncGenerator<number>> {
    return (async function* () {
      yield 1;
      yield 2;
    })();
  }

  @Locked('file')
  async file(): Promise<Readable> {
    return Readable.from(['content']);
  }

  first = new Gate();

  @Locked('slow')
  async slow(): Promise<Readable> {
    const { first } = this;
    return Readable.from(
      (async function* () {
        await first.pass();
        yield 'at last';
      })(),
    );
  }

  @Locked('endless')
  async endless(): Promise<ReadableStream<number>> {
    let count = 0;
    return new ReadableStream({ pull: (controller) => controller.enqueue(++count) });
  }

  @Locked('observable')
  async observable(): Promise<Observable<number>> {
    return defer(() => of(++this.subscriptions));
  }
}

describe('the results of locked methods', () => {
  let app: INestApplication;
  afterEach(() => app?.close());

  async function start(): Promise<{ streams: Streams; locks: LockService }> {
    const module = LockModule.forRoot({ store: memoryStore(), ttl: 400 });
    const testing = await Test.createTestingModule({ imports: [module], providers: [Streams] }).compile();
    app = testing.createNestApplication({ logger: false });
    await app.init();
    return { streams: app.get(Streams), locks: app.get(LockService) };
  }

  const released = (locks: LockService, key: string) =>
    new Promise<void>((resolve) => {
      locks.events.on('released', (event) => event.key === key && resolve());
    });

  it('B62 a returned ReadableStream is a ReadableStream for the caller', async () => {
    const { streams } = await start();
    const stream = await streams.web();
    expect(stream).toBeInstanceOf(ReadableStream);
    const reader = stream.getReader();
    expect(await reader.read()).toEqual({ done: false, value: 'item' });
    expect(await reader.read()).toEqual({ done: true, value: undefined });
  });

  it('B67 an iterated ReadableStream keeps the lock until its end', async () => {
    const { streams, locks } = await start();
    const items: string[] = [];
    for await (const item of await streams.web()) {
      items.push(item);
      expect(await locks.admin.isLocked('web')).toBe(true);
    }
    expect(items).toEqual(['item']);
    expect(await locks.admin.isLocked('web')).toBe(false);
  });

  it('B67 a returned generator has next() and return(), and keeps the lock until it is closed', async () => {
    const { streams, locks } = await start();
    const generator = await streams.generator();
    expect(await generator.next()).toEqual({ done: false, value: 1 });
    expect(await locks.admin.isLocked('generator')).toBe(true);
    const end = released(locks, 'generator');
    expect(await generator.return('left')).toEqual({ done: true, value: 'left' });
    await end;
    expect(await locks.admin.isLocked('generator')).toBe(false);
  });

  it('B67 a returned Node stream without a reader loses its lock after a ttl and then fails', async () => {
    const { streams, locks } = await start();
    const end = released(locks, 'file');
    const file = await streams.file();
    const failed = new Promise<Error>((resolve) => file.on('error', resolve));
    await end;
    expect((await failed).message).toContain('lock "file" had been released');
  });

  it('B67 a Node stream that is read keeps its lock while it has no data yet', async () => {
    const { streams, locks } = await start();
    const chunks: unknown[] = [];
    const reading = (async () => {
      for await (const chunk of await streams.slow()) chunks.push(chunk);
    })();
    const renewed = await locks.acquire('clock', { ttl: 400, autoRenew: false });
    // Waits until a lock with this ttl would have expired without a renewal.
    await new Promise((resolve) => renewed.signal.addEventListener('abort', resolve));
    expect(await locks.admin.isLocked('slow')).toBe(true);
    streams.first.open();
    await reading;
    expect(chunks).toEqual(['at last']);
  });

  it('B55 the reader of a returned web stream gets an error if the lock is lost', async () => {
    const { streams, locks } = await start();
    const reader = (await streams.endless()).getReader();
    expect(await reader.read()).toEqual({ done: false, value: 1 });
    const lost = once(locks.events, 'lost');
    await locks.admin.forceRelease('endless', { reason: 'test' });
    await lost;
    await expect(reader.read()).rejects.toThrow(LockLostError);
  });

  it('B67 cancelling the reader of a web stream releases the lock', async () => {
    const { streams, locks } = await start();
    const reader = (await streams.endless()).getReader();
    await reader.read();
    const end = released(locks, 'endless');
    await reader.cancel();
    await end;
  });

  it('B73 while locking is disabled, a returned Observable can run twice', async () => {
    const streams = withoutLocks(new Streams());
    const numbers = await streams.observable();
    expect([await lastValueFrom(numbers), await lastValueFrom(numbers)]).toEqual([1, 2]);
  });

  it('B67 the lock is released if the first value of a handler makes its subscriber unsubscribe', async () => {
    const { locks } = await start();
    const Interceptor = LockInterceptor('cached');
    const interceptor = new Interceptor(locks);
    const context = {
      getType: () => 'rpc',
      getHandler: () => start,
      getClass: () => Streams,
    } as unknown as ExecutionContext;
    const next: CallHandler = { handle: () => concat(of('cached'), NEVER) };
    const end = released(locks, 'cached');
    const answers = (await interceptor.intercept(context, next)) as Observable<unknown>;
    expect(await lastValueFrom(answers.pipe(take(1)))).toBe('cached');
    await end;
  });
});
