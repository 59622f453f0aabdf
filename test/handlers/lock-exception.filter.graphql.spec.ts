import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { UseFilters, UseInterceptors } from '@nestjs/common';
import { APP_FILTER } from '@nestjs/core';
import { ApolloDriver, type ApolloDriverConfig } from '@nestjs/apollo';
import { Args, GraphQLModule, Int, Mutation, Query, Resolver } from '@nestjs/graphql';
import { LockExceptionFilter, Locked, LockInterceptor } from '../../lib/index.js';
import { logged, platforms, startHttp, type RunningHttp } from './support/applications.js';

const MESSAGE = 'The resource is in use. Try again later.';

@Resolver()
class Orders {
  @Query(() => Int)
  healthy(): number {
    return 1;
  }

  @Mutation(() => Int)
  @UseInterceptors(LockInterceptor('order:7'))
  async interceptor(): Promise<number> {
    return 1;
  }

  @Mutation(() => Int)
  @Locked({ key: (id: number) => `order:${id}` })
  async decorator(@Args('id', { type: () => Int }) id: number): Promise<number> {
    return id;
  }

  @Mutation(() => Int)
  @UseFilters(new LockExceptionFilter({ status: 503 }))
  @Locked('order:7')
  async withItsOwn(): Promise<number> {
    return 1;
  }
}

const apollo = GraphQLModule.forRoot<ApolloDriverConfig>({
  driver: ApolloDriver,
  autoSchemaFile: true,
  // The key and the holder must not appear in a stack trace either.
  includeStacktraceInErrorResponses: true,
});

describe('LockExceptionFilter in GraphQL', () => {
  it('E2 in GraphQL, a busy lock gives the code LOCK_NOT_ACQUIRED and shows neither key nor holder', async () => {
    const app = await startHttp(platforms[0]![1](), {
      imports: [apollo],
      providers: [Orders, { provide: APP_FILTER, useClass: LockExceptionFilter }],
    });
    const holder = await app.store.holdElsewhere('order:7');

    for (const field of ['interceptor', 'decorator(id: 7)', 'withItsOwn']) {
      const text = await ask(app, `mutation { ${field} }`);
      const name = field.replace(/\(.*/, '');
      expect(JSON.parse(text)).toMatchObject({
        data: null,
        errors: [{ message: MESSAGE, path: [name], extensions: { code: 'LOCK_NOT_ACQUIRED' } }],
      });
      for (const secret of ['order:7', 'api-2:77', 'elsewhere', 'held by', 'token'])
        expect(text).not.toContain(secret);
    }
    expect(logged).toEqual([]);

    await holder.release();
    expect(JSON.parse(await ask(app, 'mutation { interceptor decorator(id: 7) withItsOwn }'))).toEqual({
      data: { interceptor: 1, decorator: 7, withItsOwn: 1 },
    });
  });
});

async function ask(app: RunningHttp, query: string): Promise<string> {
  const answer = await fetch(`${app.url}/graphql`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ query }),
  });
  return answer.text();
}
