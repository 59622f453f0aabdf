import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { Controller, Get, UseInterceptors } from '@nestjs/common';
import { LockInterceptor, LockModule, memoryStore } from '../../lib/index.js';
import { startError } from './support/applications.js';

describe('the options of LockInterceptor', () => {
  it.each([
    ['no key', () => LockInterceptor(undefined as never), 'needs a key'],
    ['an empty key', () => LockInterceptor(''), 'must not be empty'],
    [
      'a misspelt option',
      () => LockInterceptor('k', { waits: 5 } as never),
      'does not know the option "waits"',
    ],
    [
      'the option onBusy, which belongs to the filter',
      () => LockInterceptor('k', { onBusy: 'skip' } as never),
      'option "onBusy"',
    ],
    ['a wait that is no duration', () => LockInterceptor('k', { wait: 'soon' as never }), 'option "wait"'],
    [
      'a ttl of 0',
      () => LockInterceptor('k', { ttl: 0 }),
      'option "ttl" of LockInterceptor() must be at least',
    ],
    [
      'a module without a name',
      () => LockInterceptor('k', { module: '' }),
      'must be the name of a LockModule',
    ],
  ])('B67 %s is refused when the class is defined', (_, make, message) => {
    expect(make).toThrow(message);
  });

  it('B67 the application does not start if options of LockInterceptor contradict defaults of the LockModule', async () => {
    const controllers = [lockedBy(LockInterceptor('k', { renewEvery: '20s' }))];
    const imports = [LockModule.forRoot({ store: memoryStore(), ttl: '10s' })];

    expect(await startError({ controllers, imports })).toContain('"renewEvery" of LockInterceptor()');
  });

  it('B67 without a LockModule, the application does not start, and the error names the import', async () => {
    expect(await startError({ controllers: [lockedBy(LockInterceptor('k'))] })).toContain(
      'LockInterceptor, which needs LockModule.forRoot({ store }) in the root module',
    );
    expect(await startError({ controllers: [lockedBy(LockInterceptor('k', { module: 'weak' }))] })).toContain(
      "LockInterceptor, which needs LockModule.forRoot({ name: 'weak', store }) in the root module",
    );
  });
});

function lockedBy(interceptor: ReturnType<typeof LockInterceptor>) {
  @Controller()
  class Orders {
    @Get()
    @UseInterceptors(interceptor)
    async get() {}
  }
  return Orders;
}
