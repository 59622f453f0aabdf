import 'reflect-metadata';
import { PassThrough } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { Controller } from '@nestjs/common';
import { MessagePattern } from '@nestjs/microservices';
import { lastValueFrom, NEVER, Observable, of, ReplaySubject, startWith, toArray } from 'rxjs';
import { LockContext, Locked, LockLostError } from '../../lib/index.js';
import { logged, platforms, startHttp, startMicroservice } from './support/applications.js';

const ttl = 600;

describe('streams that methods under @Locked() return', () => {
  async function start<Feed extends object>(feed: new () => Feed) {
    const app = await startHttp(platforms[0]![1](), { providers: [feed] });
    return { app, feed: app.app.get(feed) };
  }

  it('B67 an Observable keeps the lock until it completes, and its code can read the lock', async () => {
    const values = new ReplaySubject<string>();
    class Feed {
      @Locked('feed')
      async feed() {
        return new Observable<string | undefined>((subscriber) => {
          subscriber.next(LockContext.current()?.key);
          return values.subscribe(subscriber);
        });
      }
    }
    const { app, feed } = await start(Feed);
    const received: unknown[] = [];
    const observable = await feed.feed();
    expect(await app.locks.admin.isLocked('feed')).toBe(true);
    const done = lastValueFrom(observable.pipe(toArray())).then((all) => received.push(...all));
    expect(await app.locks.admin.isLocked('feed')).toBe(true);

    values.complete();
    await done;
    await app.happened('released');
    expect(received).toEqual(['feed']);
  });

  it('B67 an Observable without a subscriber loses its lock after a ttl and then refuses to run', async () => {
    let runs = 0;
    class Feed {
      @Locked('feed', { ttl })
      async feed() {
        return new Observable<string>(() => void runs++);
      }
    }
    const { app, feed } = await start(Feed);
    const observable = await feed.feed();
    await app.happened('released');

    expect(logged).toHaveLength(1);
    expect(logged[0]).toContain('The stream that a handler returned under lock "feed" was not read');
    await expect(lastValueFrom(observable)).rejects.toThrow(
      'was used when its lock "feed" had been released',
    );
    expect(runs).toBe(0);
  });

  it('B67 an Observable refuses a second subscription after its lock was released', async () => {
    class Feed {
      @Locked('feed')
      async feed() {
        return of('once');
      }
    }
    const { app, feed } = await start(Feed);
    const observable = await feed.feed();
    expect(await lastValueFrom(observable)).toBe('once');
    await app.happened('released');

    await expect(lastValueFrom(observable)).rejects.toThrow('Call the handler again.');
  });

  it('B67 an Observable of a locked method fails when its lock is lost', async () => {
    class Feed {
      @Locked('feed', { ttl })
      async feed() {
        return NEVER.pipe(startWith('first'));
      }
    }
    const { app, feed } = await start(Feed);
    const done = lastValueFrom(await feed.feed());
    await app.store.holdElsewhere('feed');

    await expect(done).rejects.toThrow(LockLostError);
  });

  it('B67 an Observable whose lock is lost before the subscription does not run', async () => {
    let runs = 0;
    class Feed {
      @Locked('feed', { ttl })
      async feed() {
        return new Observable<string>(() => void runs++);
      }
    }
    const { app, feed } = await start(Feed);
    const observable = await feed.feed();
    await app.store.holdElsewhere('feed');
    await app.happened('lost');

    await expect(lastValueFrom(observable)).rejects.toThrow(LockLostError);
    expect(runs).toBe(0);
  });

  it('B67 an async iterable keeps the lock until its end, and its code can read the lock', async () => {
    class Feed {
      @Locked('feed')
      async feed() {
        return (async function* () {
          yield LockContext.current()?.key;
          yield 'last';
        })();
      }
    }
    const { app, feed } = await start(Feed);
    const received: unknown[] = [];
    for await (const value of await feed.feed()) {
      received.push(value);
      expect(await app.locks.admin.isLocked('feed')).toBe(true);
    }

    expect(received).toEqual(['feed', 'last']);
    await app.happened('released');
  });

  it.each(['half-read', 'failing'])('B67 the lock of a %s async iterable is released', async (how) => {
    let closed = false;
    class Feed {
      @Locked('feed')
      async feed() {
        return (async function* () {
          try {
            yield 'first';
            throw new Error('no more');
          } finally {
            closed = true;
          }
        })();
      }
    }
    const { app, feed } = await start(Feed);
    const use = async () => {
      for await (const value of await feed.feed()) if (how === 'half-read') return value;
      return undefined;
    };

    if (how === 'half-read') expect(await use()).toBe('first');
    else await expect(use()).rejects.toThrow('no more');
    await app.happened('released');
    expect(closed).toBe(true);
  });

  it('B67 an async iterable fails when its lock is lost, and its source is closed', async () => {
    const source = new PassThrough({ objectMode: true });
    class Feed {
      @Locked('feed', { ttl })
      async feed() {
        return { [Symbol.asyncIterator]: () => source[Symbol.asyncIterator]() };
      }
    }
    const { app, feed } = await start(Feed);
    source.write('first');
    const iterator = (await feed.feed())[Symbol.asyncIterator]();
    expect((await iterator.next()).value).toBe('first');
    // The iterator closes the stream before its end, which makes the stream emit an error.
    source.on('error', () => {});
    const closed = new Promise((resolve) => source.once('close', resolve));
    await app.store.holdElsewhere('feed');

    await app.happened('lost');
    await expect(iterator.next()).rejects.toThrow(LockLostError);
    await closed;
  });
});

describe('@Locked() on message handlers', () => {
  it.each(['above', 'below'])(
    'B62 @Locked() %s @MessagePattern() holds the lock until the Observable completes',
    async (place) => {
      const values = new ReplaySubject<string>();
      @Controller()
      class Orders {
        @Locked('feed')
        @MessagePattern('above')
        async above() {
          return values;
        }

        @MessagePattern('below')
        @Locked('feed')
        async below() {
          return values;
        }
      }
      const { running, client } = await startMicroservice({ controllers: [Orders] });
      const received = lastValueFrom(client.send(place, {}).pipe(toArray()));
      await running.happened('acquired');
      expect(await running.locks.tryAcquire('feed')).toBeNull();
      values.next('last');
      values.complete();

      expect(await received).toEqual(['last']);
      await running.happened('released');
    },
  );
});
