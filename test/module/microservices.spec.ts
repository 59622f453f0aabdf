import 'reflect-metadata';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  Controller,
  Injectable,
  ParseIntPipe,
  Scope,
  UseGuards,
  type CanActivate,
  type ExecutionContext,
  type INestMicroservice,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  ClientProxyFactory,
  Ctx,
  EventPattern,
  MessagePattern,
  Payload,
  RpcException,
  TcpContext,
  Transport,
  type ClientProxy,
} from '@nestjs/microservices';
import { once } from 'node:events';
import { firstValueFrom } from 'rxjs';
import { Locked, LockContext, LockModule, LockService } from '../../lib/index.js';
import { logs, rootModule } from './applications.js';
import { freePort } from '../servers/free-port.mjs';
import { RecordingStore } from './recording-store.js';

@Injectable()
class NotThirteen implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    if (context.switchToRpc().getData<{ id: string }>().id === '13') throw new RpcException('unlucky');
    return true;
  }
}

interface Ship {
  id: string;
}

const shipped: unknown[] = [];

const ship = (id: number, context: unknown): unknown => ({
  id,
  pattern: context instanceof TcpContext ? context.getPattern() : 'no context',
  lock: LockContext.current()?.key,
});
const byId = { key: (id: number) => `order:${id.toFixed()}` };
const byEvent = { key: ({ id }: Ship) => `order:${id}` };

@Controller()
class Above {
  @MessagePattern('ship above')
  @UseGuards(NotThirteen)
  @Locked(byId)
  async ship(@Payload('id', ParseIntPipe) id: number, @Ctx() context: TcpContext): Promise<unknown> {
    return ship(id, context);
  }

  @EventPattern('shipped above')
  @Locked(byEvent)
  async shipped(event: Ship): Promise<void> {
    shipped.push([event, LockContext.current()?.key]);
  }
}

@Controller()
class Below {
  @Locked(byId)
  @MessagePattern('ship below')
  @UseGuards(NotThirteen)
  async ship(@Payload('id', ParseIntPipe) id: number, @Ctx() context: TcpContext): Promise<unknown> {
    return ship(id, context);
  }

  @Locked(byEvent)
  @EventPattern('shipped below')
  async shipped(event: Ship): Promise<void> {
    shipped.push([event, LockContext.current()?.key]);
  }
}

@Controller({ scope: Scope.REQUEST })
class Scoped {
  @MessagePattern('ship scoped')
  @Locked(byId)
  async ship(@Payload('id', ParseIntPipe) id: number, @Ctx() context: TcpContext): Promise<unknown> {
    return ship(id, context);
  }
}

describe('locks over TCP', () => {
  const store = new RecordingStore();
  let app: INestMicroservice;
  let client: ClientProxy;

  beforeAll(async () => {
    const options = { host: '127.0.0.1', port: await freePort() };
    app = await NestFactory.createMicroservice(
      rootModule({ imports: [LockModule.forRoot({ store })], controllers: [Above, Below, Scoped] }),
      { transport: Transport.TCP, options, logger: logs, abortOnError: false },
    );
    await app.listen();
    client = ClientProxyFactory.create({ transport: Transport.TCP, options });
    await client.connect();
  });
  beforeEach(() => {
    store.calls.length = 0;
    shipped.length = 0;
  });
  afterAll(async () => {
    await client.close();
    await app.close();
  });

  const send = (pattern: string, data: Ship): Promise<unknown> => firstValueFrom(client.send(pattern, data));

  it.each(['above', 'below'])('B62 @MessagePattern %s @Locked() answers under its lock', async (place) => {
    expect(await send(`ship ${place}`, { id: '7' })).toEqual({
      id: 7,
      pattern: `ship ${place}`,
      lock: 'order:7',
    });
    expect(store.calls).toEqual(['acquire order:7', 'release order:7']);
  });

  it.each(['above', 'below'])(
    'B62 @MessagePattern %s @Locked() keeps its guards and pipes',
    async (place) => {
      await expect(send(`ship ${place}`, { id: '13' })).rejects.toMatchObject({ message: 'unlucky' });
      await expect(send(`ship ${place}`, { id: 'x' })).rejects.toMatchObject({ status: 'error' });
      expect(store.calls).toEqual([]);
    },
  );

  it.each(['above', 'below'])(
    'B63 @MessagePattern %s @Locked() answers with an error if its key is busy',
    async (place) => {
      const held = await store.holdElsewhere('order:8');
      await expect(send(`ship ${place}`, { id: '8' })).rejects.toMatchObject({ status: 'error' });
      await held.release();
      expect(await send(`ship ${place}`, { id: '8' })).toMatchObject({ id: 8 });
    },
  );

  it.each(['above', 'below'])(
    'B62 @EventPattern %s @Locked() gets the event under its lock',
    async (place) => {
      const released = once(app.get(LockService).events, 'released');
      client.emit(`shipped ${place}`, { id: '7' });
      await released;
      expect(shipped).toEqual([[{ id: '7' }, 'order:7']]);
      expect(store.calls).toEqual(['acquire order:7', 'release order:7']);
    },
  );

  it.each(['above', 'below'])(
    'B63 @EventPattern %s @Locked() runs nothing if its key is busy',
    async (place) => {
      const held = await store.holdElsewhere('order:9');
      const busy = once(app.get(LockService).events, 'busy');
      client.emit(`shipped ${place}`, { id: '9' });
      await busy;
      await held.release();
      const released = once(app.get(LockService).events, 'released');
      client.emit(`shipped ${place}`, { id: '10' });
      await released;
      expect(shipped).toEqual([[{ id: '10' }, 'order:10']]);
    },
  );

  it('B68 a request-scoped message handler runs under its lock', async () => {
    expect(await send('ship scoped', { id: '7' })).toMatchObject({ id: 7, lock: 'order:7' });
  });
});
