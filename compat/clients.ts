// Checks what clients of gateways and of GraphQL receive if a lock is busy, on each generation
// of Nest.
import 'reflect-metadata';
import { strict as assert } from 'node:assert';
import type { AddressInfo } from 'node:net';
import { ApolloDriver, type ApolloDriverConfig } from '@nestjs/apollo';
import { Module, UseFilters, UseInterceptors } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { GraphQLModule, Int, Query, Resolver } from '@nestjs/graphql';
import { SubscribeMessage, WebSocketGateway } from '@nestjs/websockets';
import {
  Locked,
  LockExceptionFilter,
  LockInterceptor,
  LockModule,
  LockService,
  memoryStore,
} from 'nestjs-locked';
import { io } from 'socket.io-client';

const BUSY = { code: 'LOCK_NOT_ACQUIRED', message: 'The resource is in use. Try again later.' };

@UseFilters(LockExceptionFilter)
@WebSocketGateway()
class FilteredGateway {
  @SubscribeMessage('interceptor')
  @UseInterceptors(LockInterceptor('order:7'))
  async interceptor(): Promise<void> {}

  @SubscribeMessage('decorator')
  @Locked('order:7')
  async decorator(): Promise<void> {}
}

@WebSocketGateway()
class BareGateway {
  @SubscribeMessage('bare interceptor')
  @UseInterceptors(LockInterceptor('order:7'))
  async interceptor(): Promise<void> {}

  @SubscribeMessage('bare decorator')
  @Locked('order:7')
  async decorator(): Promise<void> {}
}

@UseFilters(LockExceptionFilter)
@Resolver()
class Orders {
  @Query(() => Int)
  @UseInterceptors(LockInterceptor('order:7'))
  async interceptor(): Promise<number> {
    return 1;
  }

  @Query(() => Int)
  @Locked('order:7')
  async decorator(): Promise<number> {
    return 1;
  }
}

@Module({
  imports: [
    LockModule.forRoot({ store: memoryStore() }),
    GraphQLModule.forRoot<ApolloDriverConfig>({ driver: ApolloDriver, autoSchemaFile: true }),
  ],
  providers: [FilteredGateway, BareGateway, Orders],
})
class ClientsModule {}

async function main(): Promise<void> {
  const application = await NestFactory.create(ClientsModule, { logger: false });
  await application.listen(0, '127.0.0.1');
  const { port } = application.getHttpServer().address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  await application.get(LockService).acquire('order:7');

  const socket = io(url, { transports: ['websocket'] });
  const exception = (pattern: string): Promise<object> =>
    new Promise((resolve) => {
      socket.once('exception', resolve);
      socket.emit(pattern, 7);
    });
  for (const pattern of ['interceptor', 'decorator'])
    assert.deepEqual(await exception(pattern), { status: 'error', ...BUSY, cause: { pattern, data: 7 } });
  for (const pattern of ['bare interceptor', 'bare decorator'])
    assert.equal(((await exception(pattern)) as { message?: string }).message, 'Internal server error');
  socket.disconnect();

  for (const field of ['interceptor', 'decorator']) {
    const answer = await fetch(`${url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ query: `{ ${field} }` }),
    });
    const text = await answer.text();
    const { errors } = JSON.parse(text) as { errors: { message: string; extensions: { code: string } }[] };
    assert.deepEqual(
      errors.map(({ message, extensions: { code } }) => ({ code, message })),
      [BUSY],
    );
    assert.ok(!text.includes('order:7'), 'the answer does not show the key');
  }
  await application.close();
  console.log('clients of gateways and of GraphQL learn that a lock is busy, but not its holder');
}

void main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
