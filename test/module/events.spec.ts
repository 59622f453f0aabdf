import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { Injectable, Scope, type Type } from '@nestjs/common';
import { EventEmitter2, EventEmitterModule, OnEvent } from '@nestjs/event-emitter';
import { once } from 'node:events';
import { Locked, LockContext, LockModule, LockNotAcquiredError, LockService } from '../../lib/index.js';
import { logs, start } from './applications.js';
import { RecordingStore } from './recording-store.js';

class OrderPaid {
  constructor(readonly id: string) {}
}

abstract class Listener {
  static seen: unknown[] = [];
  protected handle(event: OrderPaid): string {
    Listener.seen.push([event, LockContext.current()?.key]);
    return `shipped ${event.id}`;
  }
}

@Injectable()
class Above extends Listener {
  @OnEvent('order.*', { suppressErrors: false })
  @Locked({ key: ({ id }: OrderPaid) => `order:${id}` })
  async ship(event: OrderPaid): Promise<string> {
    return this.handle(event);
  }
}

@Injectable()
class Below extends Listener {
  @Locked({ key: ({ id }: OrderPaid) => `order:${id}` })
  @OnEvent('order.*', { suppressErrors: false })
  async ship(event: OrderPaid): Promise<string> {
    return this.handle(event);
  }
}

@Injectable({ scope: Scope.REQUEST })
class PerRequest extends Listener {
  @OnEvent('order.*', { suppressErrors: false })
  @Locked({ key: ({ id }: OrderPaid) => `order:${id}` })
  async ship(event: OrderPaid): Promise<string> {
    return this.handle(event);
  }
}

@Injectable()
class Suppressing extends Listener {
  @OnEvent('order.paid')
  @Locked('orders')
  async ship(event: OrderPaid): Promise<string> {
    return this.handle(event);
  }
}

async function startWith(listener: Type) {
  Listener.seen = [];
  const store = new RecordingStore();
  const app = await start({
    imports: [EventEmitterModule.forRoot({ wildcard: true }), LockModule.forRoot({ store })],
    providers: [listener],
  });
  return { store, app, emitter: app.get(EventEmitter2) };
}

describe('@OnEvent under a lock', () => {
  it.each([
    ['above @Locked()', Above],
    ['below @Locked()', Below],
    ['on a request-scoped class', PerRequest],
  ])(
    'B62 a listener with @OnEvent %s gets the event under its lock, and the emitter gets its result',
    async (_, listener) => {
      const { store, emitter } = await startWith(listener);
      const event = new OrderPaid('7');
      expect(await emitter.emitAsync('order.paid', event)).toEqual(['shipped 7']);
      expect(Listener.seen).toEqual([[event, 'order:7']]);
      expect(store.calls).toEqual(['acquire order:7', 'release order:7']);
    },
  );

  it.each([
    ['above @Locked()', Above],
    ['below @Locked()', Below],
  ])('B63 a listener with @OnEvent %s throws by default if the lock is busy', async (_, listener) => {
    const { store, emitter } = await startWith(listener);
    await store.holdElsewhere('order:7');
    await expect(emitter.emitAsync('order.paid', new OrderPaid('7'))).rejects.toThrow(LockNotAcquiredError);
    expect(Listener.seen).toEqual([]);
  });

  it('B63 if a listener is busy and no caller awaits it, its error is logged', async () => {
    const { store, app, emitter } = await startWith(Suppressing);
    await store.holdElsewhere('orders');
    const busy = once(app.get(LockService).events, 'busy');
    emitter.emit('order.paid', new OrderPaid('7'));
    await busy;
    await emitter.emitAsync('order.paid', new OrderPaid('8'));
    expect(Listener.seen).toEqual([]);
    expect(logs.lines.filter(({ level }) => level === 'error')).toEqual([
      expect.objectContaining({ message: expect.stringContaining('Lock "orders" was not acquired') }),
      expect.objectContaining({ message: expect.stringContaining('Lock "orders" was not acquired') }),
    ]);
  });
});
