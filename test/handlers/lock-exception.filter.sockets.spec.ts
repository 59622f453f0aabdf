import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { UseFilters, UseInterceptors } from '@nestjs/common';
import { MessageBody, SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';
import {
  LockExceptionFilter,
  Locked,
  LockInterceptor,
  LockNotAcquiredError,
  LockService,
} from '../../lib/index.js';
import { logged, platforms, startHttp } from './support/applications.js';
import { socketPlatforms } from './support/sockets.js';

const BUSY = {
  status: 'error',
  code: 'LOCK_NOT_ACQUIRED',
  message: 'The resource is in use. Try again later.',
};
const UNKNOWN = { status: 'error', message: 'Internal server error' };

describe.each(socketPlatforms)('locks on gateways of %s', (_, adapt, connect) => {
  async function start(gateway: new (...dependencies: never[]) => object) {
    const app = await startHttp(platforms[0]![1](), { providers: [gateway] }, adapt);
    return { app, client: await connect(app.url) };
  }

  it('E2 on a gateway, LockExceptionFilter sends an exception event that shows neither key nor holder', async () => {
    @UseFilters(LockExceptionFilter)
    @WebSocketGateway()
    class Orders {
      constructor(private readonly locks: LockService) {}

      @SubscribeMessage('interceptor')
      @UseInterceptors(LockInterceptor('order:7'))
      async interceptor() {
        return { event: 'ran', data: 'interceptor' };
      }

      @SubscribeMessage('decorator')
      @Locked({ key: (id: number) => `order:${id}` })
      async decorator(@MessageBody() id: number) {
        return { event: 'ran', data: id };
      }

      @SubscribeMessage('run')
      async byHand() {
        return this.locks.run('order:7', () => ({ event: 'ran', data: 'by hand' }));
      }
    }
    const { app, client } = await start(Orders);
    const holder = await app.store.holdElsewhere('order:7');

    for (const pattern of ['interceptor', 'decorator', 'run'])
      expect(await client.ask(pattern, 7)).toEqual({
        event: 'exception',
        data: { ...BUSY, cause: { pattern, data: 7 } },
      });
    expect(logged).toEqual([]);

    await holder.release();
    expect(await client.ask('interceptor', 7)).toEqual({ event: 'ran', data: 'interceptor' });
    expect(await client.ask('decorator', 7)).toEqual({ event: 'ran', data: 7 });
  });

  it('E2 on a gateway without LockExceptionFilter, the client gets an internal error, and the process keeps running', async () => {
    @WebSocketGateway()
    class Orders {
      @SubscribeMessage('interceptor')
      @UseInterceptors(LockInterceptor('order:7'))
      async interceptor() {
        return { event: 'ran', data: 'interceptor' };
      }

      @SubscribeMessage('decorator')
      @Locked('order:7')
      async decorator() {
        return { event: 'ran', data: 'decorator' };
      }
    }
    const { app, client } = await start(Orders);
    const holder = await app.store.holdElsewhere('order:7');

    for (const pattern of ['interceptor', 'decorator'])
      expect(await client.ask(pattern, 7)).toEqual({
        event: 'exception',
        data: { ...UNKNOWN, cause: { pattern, data: 7 } },
      });

    await holder.release();
    expect(await client.ask('interceptor', 7)).toEqual({ event: 'ran', data: 'interceptor' });
  });
});

it('E2 LockExceptionFilter sends no answer to a client that has disconnected', async () => {
  const host = {
    getType: () => 'ws',
    switchToWs: () => ({
      getClient: () => ({ readyState: 3, emit: unexpected, send: unexpected }),
      getPattern: () => 'ship',
      getData: () => 7,
    }),
  };
  const unexpected = (): never => {
    throw new Error('A closed socket was written to.');
  };
  const error = new LockNotAcquiredError('order:7', { waited: 0 });

  expect(new LockExceptionFilter().catch(error, host as never)).toBeUndefined();
});
