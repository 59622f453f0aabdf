import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { Controller, UseInterceptors, type ExecutionContext } from '@nestjs/common';
import { EventPattern, MessagePattern, Payload } from '@nestjs/microservices';
import { lastValueFrom, ReplaySubject, toArray } from 'rxjs';
import { LockContext, LockInterceptor } from '../../lib/index.js';
import { logged, startMicroservice } from './support/applications.js';
import { Gate } from '../module/gate.js';
import { TimeOut } from './support/interceptors.js';
import { startResolver } from './support/resolvers.js';

const orderKey = (context: ExecutionContext): string => `order:${context.switchToRpc().getData<number>()}`;

describe('LockInterceptor on message handlers', () => {
  it('B67 the key is made from the message, and the lock is held until the handler ends', async () => {
    const gate = new Gate();
    @Controller()
    class Orders {
      @MessagePattern('ship')
      @UseInterceptors(LockInterceptor(orderKey, { wait: '1m' }))
      async ship(@Payload() id: number) {
        await gate.pass();
        return `${id} under ${LockContext.current()?.key}`;
      }
    }
    const { running, client } = await startMicroservice({ controllers: [Orders] });
    const first = lastValueFrom(client.send('ship', 7));
    await gate.reached;
    const refused = running.store.refused();
    const second = lastValueFrom(client.send('ship', 7));
    await refused;
    expect(gate.arrivals).toBe(1);
    gate.open();

    expect(await Promise.all([first, second])).toEqual(['7 under order:7', '7 under order:7']);
    await running.happened('released', 2);
  });

  it('B67 the lock is held until the returned Observable completes', async () => {
    const values = new ReplaySubject<string>();
    @Controller()
    class Orders {
      @MessagePattern('watch')
      @UseInterceptors(LockInterceptor('feed'))
      watch() {
        return values;
      }
    }
    const { running, client } = await startMicroservice({ controllers: [Orders] });
    const received = lastValueFrom(client.send('watch', {}).pipe(toArray()));
    await running.happened('acquired');
    values.next('first');
    expect(await running.locks.tryAcquire('feed')).toBeNull();
    values.next('last');
    values.complete();

    expect(await received).toEqual(['first', 'last']);
    await running.happened('released');
  });

  it('B67 an Observable fails when its lock is lost', async () => {
    const values = new ReplaySubject<string>();
    @Controller()
    class Orders {
      @MessagePattern('watch')
      @UseInterceptors(LockInterceptor('feed', { ttl: 600 }))
      watch() {
        return values;
      }
    }
    const { running, client } = await startMicroservice({ controllers: [Orders] });
    const received = lastValueFrom(client.send('watch', {}));
    await running.happened('acquired');
    values.next('first');
    await running.store.holdElsewhere('feed');

    await expect(received).rejects.toMatchObject({ status: 'error' });
    expect(values.observed).toBe(false);
    expect(logged.join()).toContain('was lost: ');
  });

  it('B67 a time-out does not release the lock while the message handler runs', async () => {
    const gate = new Gate();
    const timeOut = new TimeOut();
    @Controller()
    class Orders {
      @MessagePattern('slow')
      @UseInterceptors(timeOut, LockInterceptor('slow'))
      async slow() {
        await gate.pass();
      }
    }
    const { running, client } = await startMicroservice({ controllers: [Orders] });
    const answer = lastValueFrom(client.send('slow', {}));
    await gate.reached;

    timeOut.expire();
    await expect(answer).rejects.toBeDefined();
    expect(await running.locks.tryAcquire('slow')).toBeNull();
    gate.open();
    await running.happened('released');
  });

  it('B21 if a message times out while it waits for the lock, the wait ends and no handler runs', async () => {
    const gate = new Gate();
    const timeOut = new TimeOut();
    @Controller()
    class Orders {
      @MessagePattern('wait')
      @UseInterceptors(timeOut, LockInterceptor('busy', { wait: Infinity }))
      async wait() {
        await gate.pass();
      }
    }
    const { running, client } = await startMicroservice({ controllers: [Orders] });
    const { release } = await running.store.holdElsewhere('busy');
    const refused = running.store.refused();
    const answer = lastValueFrom(client.send('wait', {}));
    await refused;

    timeOut.expire();
    await expect(answer).rejects.toBeDefined();
    await release();
    await using lock = await running.locks.acquire('busy', { wait: Infinity });
    expect([lock.held, gate.arrivals]).toEqual([true, 0]);
  });

  it('B67 event handlers run under the lock', async () => {
    const gate = new Gate();
    @Controller()
    class Orders {
      @EventPattern('shipped')
      @UseInterceptors(LockInterceptor(orderKey))
      async shipped(@Payload() id: number) {
        await gate.pass();
        return id;
      }
    }
    const { running, client } = await startMicroservice({ controllers: [Orders] });
    await lastValueFrom(client.emit('shipped', 7), { defaultValue: undefined });
    await gate.reached;
    expect(await running.locks.admin.isLocked('order:7')).toBe(true);
    gate.open();
    await running.happened('released');
  });
});

describe('LockInterceptor on GraphQL resolvers', () => {
  const orderOf = (context: ExecutionContext): string =>
    `order:${context.getArgByIndex<{ id: number }>(1).id}`;

  it('B67 the lock is held until the resolver ends', async () => {
    const gate = new Gate();
    class Resolver {
      @UseInterceptors(LockInterceptor(orderOf))
      async order(_: unknown, { id }: { id: number }) {
        await gate.pass();
        return `${id} under ${LockContext.current()?.key}`;
      }
    }
    const { running, resolve } = await startResolver(Resolver, 'order');
    const answer = resolve({ id: 7 });
    await gate.reached;
    expect(await running.locks.admin.isLocked('order:7')).toBe(true);
    gate.open();

    expect(await answer).toBe('7 under order:7');
    await running.happened('released');
    expect(await running.locks.admin.isLocked('order:7')).toBe(false);
  });

  it('B67 the lock is held until the iterable of a subscription is closed', async () => {
    class Resolver {
      @UseInterceptors(LockInterceptor(orderOf))
      async changes(_: unknown, { id }: { id: number }) {
        return (async function* () {
          for (;;) yield id;
        })();
      }
    }
    const { running, resolve } = await startResolver(Resolver, 'changes');
    const changes = (await resolve({ id: 7 })) as AsyncIterable<number>;
    for await (const change of changes) {
      expect(change).toBe(7);
      expect(await running.locks.tryAcquire('order:7')).toBeNull();
      break;
    }

    await running.happened('released');
  });
});
