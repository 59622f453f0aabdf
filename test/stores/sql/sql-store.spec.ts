import { describe, expect, it } from '@jest/globals';
import { NestFactory } from '@nestjs/core';
import { LockError, LockModule } from '../../../lib/index.js';
import { fromPg, sqlSessionStore, sqlStore } from '../../../lib/stores/sql/index.js';

describe('sqlStore() and sqlSessionStore()', () => {
  const refused: [what: string, make: () => unknown, message: RegExp][] = [
    [
      'an executor that is missing',
      () => sqlStore({ executor: undefined as never }),
      /sqlStore\(\) needs an executor, such as fromPg\(pool\), but it got undefined/,
    ],
    [
      'an executor of the wrong kind, and names it',
      () => sqlSessionStore({ executor: 'postgres://app:secret@localhost/app' as never }),
      /sqlSessionStore\(\) needs an executor, .* but it got a text\. Wrap the client in its executor/,
    ],
    [
      'inject without a function',
      () => sqlStore({ inject: ['POOL'], executor: {} as never }),
      /With inject, sqlStore\(\) needs a list of providers, and a function as executor/,
    ],
    [
      'a token that is not defined, as after a circular import',
      () => sqlStore({ inject: [undefined as never], executor: fromPg }),
      /inject of sqlStore\(\) has a token that is not defined/,
    ],
    [
      'an option that does not exist',
      () => sqlStore({ executor: (() => undefined) as never, tabel: 'locks' } as never),
      /tabel/,
    ],
  ];
  for (const [what, make, message] of refused)
    it(`B90 the stores refuse ${what}`, () => {
      expect(make).toThrow(LockError);
      expect(make).toThrow(message);
      expect(make).not.toThrow(/secret/);
    });

  it('B90 the start names a provider that the application does not have', async () => {
    const store = sqlStore({ inject: [Symbol('PG_POOL')], executor: fromPg });
    const module = class {};
    const imports = [LockModule.forRoot({ store })];
    const starting = NestFactory.createApplicationContext(
      { module, imports },
      { logger: false, abortOnError: false },
    );
    await expect(starting).rejects.toThrow(
      /sqlStore\(\) found no provider Symbol\(PG_POOL\) in the application/,
    );
  });
});
