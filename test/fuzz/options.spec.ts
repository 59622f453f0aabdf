import 'reflect-metadata';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { Logger, type DynamicModule } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import * as fc from 'fast-check';
import {
  Locked,
  LockError,
  LockInterceptor,
  LockModule,
  MemoryLockStore,
  memoryStore,
} from '../../lib/index.js';
import { mongooseStore, mongoStore } from '../../lib/stores/mongodb/index.js';
import { TypeOrmLockStore, typeOrmStore } from '../../lib/stores/typeorm/index.js';
import { rootModule } from '../module/applications.js';
import { startCore, type Core } from '../core/core-fixture.js';
import { seeded } from './seeded.js';
import { anyText, anyValue } from './values.js';

/** A function whose options the test tries. */
interface Place {
  /** For each option, values that are valid, just at a limit, or nearly valid. */
  options: Record<string, fc.Arbitrary<unknown>>;
  /** Options without which the function refuses every call. */
  needed?: Record<string, unknown>;
  /** Tells whether the function accepts this value although it is no object of options. */
  otherwise?: (given: unknown) => boolean;
  use: (options: never) => unknown;
}

const duration = fc.oneof(
  fc.constantFrom<unknown>(
    0,
    1,
    99,
    99.5,
    100,
    20_000,
    20_001,
    2 ** 52,
    2 ** 53,
    Infinity,
    -1,
    NaN,
    '1',
    '1s',
    '1.5 h',
  ),
  fc.constantFrom<unknown>(
    '-1s',
    '1 s 2',
    's',
    '1e3',
    '١s',
    ' 1m ',
    `${'9'.repeat(120)}s`,
    '2 ** 3',
    10n ** 20n,
  ),
  fc
    .tuple(fc.double(), fc.constantFrom('', 'ms', 's', ' min', 'h', ' days', 'y', 'x'))
    .map(([n, unit]) => `${n}${unit}`),
);
const retry = fc.oneof(
  duration,
  fc.record({ min: duration, max: duration }, { requiredKeys: [] }),
  fc.func(fc.nat()),
  fc.constant([1, 2]),
);
const name = fc.oneof(
  anyText,
  fc.constantFrom('a', 'a.b', 'a"b', 'x'.repeat(64), 'x'.repeat(65), '__proto__', 'système', 'a;b'),
);
const onOff = fc.constantFrom<unknown>('true', 'false', 0, 1, true, false);
const callback = fc.constantFrom<unknown>('ignore', () => {});

const lock = {
  ttl: duration,
  minHold: duration,
  label: fc.oneof(name, fc.constantFrom('x'.repeat(255), 'é'.repeat(128))),
  autoRenew: onOff,
  renewEvery: duration,
  wait: duration,
  retry,
  stealAfter: duration,
  onLost: callback,
};
const call = {
  ...lock,
  once: fc.oneof(duration, fc.constantFrom('tick', 'slot')),
  signal: fc.constantFrom<unknown>(AbortSignal.abort(), new AbortController(), new EventTarget()),
};
const busy = fc.constantFrom<unknown>('skip', 'throw', 'wait', () => {});
const table = { table: name, schema: name, autoCreate: onOff, weak: onOff };
const collection = {
  collectionName: name,
  deleteUnusedAfter: duration,
  weak: onOff,
  writeConcern: fc.record(
    { w: fc.constantFrom<unknown>(0, 1, 1.5, -1, '', 'majority'), journal: onOff, wtimeoutMS: duration },
    { requiredKeys: [] },
  ),
};

let core: Core;
let keys = 0;
const newKey = (): string => `key ${++keys}`;

beforeAll(async () => {
  Logger.overrideLogger(false);
  core = await startCore();
});

const places: Record<string, Place> = {
  'acquire()': { options: call, use: (options) => core.service.acquire(newKey(), options) },
  'tryAcquire()': { options: call, use: (options) => core.service.tryAcquire(newKey(), options) },
  'run()': {
    options: { ...call, reentrant: onOff, rejectOnLoss: onOff },
    use: (options) => core.service.run(newKey(), () => {}, options),
  },
  'tryRun()': {
    options: { ...call, reentrant: onOff, rejectOnLoss: onOff },
    use: (options) => core.service.tryRun(newKey(), () => {}, options),
  },
  'restore()': {
    options: {
      autoRenew: onOff,
      renewEvery: duration,
      onLost: callback,
    },
    use: async (options) =>
      core.service.restore(await (await core.service.acquire(newKey())).handOff(), options),
  },
  'list()': {
    options: { limit: fc.constantFrom<unknown>(0, 1, 1.5, 1000, 1001, '10'), after: name },
    use: (options) => core.service.admin.list(options),
  },
  'purge()': {
    options: { olderThan: duration },
    needed: { olderThan: 0 },
    use: (options) => core.service.admin.purge(options),
  },
  '@Locked()': {
    options: {
      ...lock,
      once: fc.oneof(duration, fc.constantFrom('tick', 'slot')),
      tickAhead: duration,
      reentrant: onOff,
      rejectOnLoss: onOff,
      key: name,
      onBusy: busy,
      module: name,
    },
    otherwise: (given) => typeof given === 'string', // A string is the key.
    use: (options) => {
      class Job {
        async run(): Promise<void> {}
      }
      Locked(options)(Job.prototype, 'run', Object.getOwnPropertyDescriptor(Job.prototype, 'run') as never);
    },
  },
  'LockInterceptor()': {
    options: { ...lock, rejectOnLoss: onOff, module: name },
    use: (options) => LockInterceptor('key', options),
  },
  'LockModule.forRoot()': {
    options: {
      ...lock,
      enabled: onOff,
      prefix: name,
      shutdownTimeout: duration,
      reentrant: onOff,
      purge: fc.record({ olderThan: duration, every: duration }, { requiredKeys: [] }),
      name,
      isGlobal: onOff,
      store: fc.constantFrom<unknown>({}, { acquire() {} }, MemoryLockStore, { useFactory: 'store' }),
    },
    needed: { store: new MemoryLockStore() },
    // Nest itself fails on null before the library reads the options.
    otherwise: (given) => given === null,
    use: (options) => startAndStop(() => LockModule.forRoot(options)),
  },
  'LockModule.forRootAsync()': {
    options: { ...lock, enabled: onOff, prefix: name, shutdownTimeout: duration },
    needed: { store: new MemoryLockStore() },
    use: (options) => startAndStop(() => LockModule.forRootAsync({ useFactory: () => options })),
  },
  'memoryStore()': { options: { allowInProduction: onOff }, use: memoryStore },
  'typeOrmStore()': {
    options: { ...table, dataSource: name, connection: fc.constantFrom({}, { type: 7 }, 'postgres://') },
    use: typeOrmStore,
  },
  'new TypeOrmLockStore()': {
    options: table,
    use: (options) => new TypeOrmLockStore({ createQueryRunner() {} } as never, options),
  },
  'mongoStore()': {
    options: {
      ...collection,
      databaseName: name,
      url: fc.constantFrom(
        'postgres://',
        'mongodb',
        'mongodb://',
        'mongodb://localhost:x',
        'mongodb://a/b?c=d',
      ),
      client: fc.constantFrom<unknown>({}, { db: 'db' }),
      db: fc.constantFrom<unknown>({}, { databaseName: 'a' }),
      collection: fc.constantFrom<unknown>({}, 'locks'),
    },
    needed: { url: 'mongodb://localhost/app' },
    use: mongoStore,
  },
  'mongooseStore()': { options: { ...collection, connectionName: name }, use: mongooseStore },
};

async function startAndStop(module: () => DynamicModule): Promise<void> {
  const app = await NestFactory.createApplicationContext(rootModule({ imports: [module()] }), {
    logger: false,
    abortOnError: false,
  });
  await app.close();
}

describe.each(Object.entries(places))(
  'any options of %s',
  (_, { options, needed = {}, otherwise = () => false, use }) => {
    /**
     * Resolves to the error that refuses these options, if they are refused. An aborted call
     * counts as accepted, since options are checked before the wait.
     */
    async function refusal(given: unknown): Promise<unknown> {
      try {
        await use(given as never);
        return undefined;
      } catch (error) {
        return (error as Error)?.name === 'AbortError' ? undefined : error;
      }
    }

    function expectLockError(error: unknown): asserts error is LockError {
      if (!(error instanceof LockError)) throw error;
      expect(error.message).toMatch(/\.$/);
    }

    it('B60 any value of one option is accepted, or refused with an error that names the option', async () => {
      const one = fc.oneof(
        ...Object.entries(options).map(([option, values]) =>
          fc.tuple(
            fc.constant(option),
            fc.oneof({ weight: 2, arbitrary: values }, { weight: 1, arbitrary: anyValue }),
          ),
        ),
      );
      await fc.assert(
        fc.asyncProperty(one, async ([option, value]) => {
          const error = await refusal({ ...needed, [option]: value });
          if (error === undefined) return;
          expectLockError(error);
          expect(error.message).toMatch(new RegExp(`\\b${option}\\b`));
        }),
        seeded(250),
      );
    });

    it('B60 any mixture of options is accepted, or refused with an error that names one of them', async () => {
      const some = fc.record(options, { requiredKeys: [] });
      const unknown = fc.dictionary(fc.constantFrom('Ttl', 'timeout', 'keys', '__proto__'), anyValue, {
        maxKeys: 1,
      });
      await fc.assert(
        fc.asyncProperty(some, unknown, async (known, others) => {
          const given = { ...needed, ...known, ...others };
          const error = await refusal(given);
          if (error === undefined)
            return expect(Object.keys(given).filter((key) => !Object.hasOwn(options, key))).toEqual([]);
          expectLockError(error);
          expect(Object.keys(given).filter((key) => error.message.includes(key))).not.toEqual([]);
        }),
        seeded(100),
      );
    });

    it('B60 a value that is no object is refused where options are expected', async () => {
      const none = anyValue.filter(
        (value) => value === null || typeof value !== 'object' || Array.isArray(value),
      );
      await fc.assert(
        fc.asyncProperty(none, async (given) => {
          if (given === undefined || otherwise(given)) return;
          const error = await refusal(given);
          expectLockError(error);
        }),
        seeded(50),
      );
    });
  },
);

describe('@Locked() with any arguments', () => {
  it('B60 @Locked() accepts any arguments or refuses them before it changes the method', () => {
    fc.assert(
      fc.property(fc.oneof(name, anyValue), anyValue, (first, options) => {
        class Job {
          async run(): Promise<void> {}
        }
        const before = Object.getOwnPropertyDescriptor(Job.prototype, 'run') as PropertyDescriptor;
        const descriptor = { ...before };
        try {
          Locked(first as string, options as object)(Job.prototype, 'run', descriptor);
          expect(descriptor.value).not.toBe(before.value);
        } catch (error) {
          if (!(error instanceof LockError)) throw error;
          expect(error.message).toContain('Job.run');
          expect(descriptor).toEqual(before);
        }
      }),
      seeded(300),
    );
  });

  it('B60 @Locked() on a property that is no method is refused', () => {
    const target = fc.constantFrom<object>(class Job {}, {}, [], () => {});
    const property = fc.constantFrom<string | symbol | undefined>('run', '', Symbol('run'), undefined);
    const descriptor = fc.oneof(
      anyValue,
      fc.record({ value: anyValue }),
      fc.constant({ get: () => () => {} }),
    );
    fc.assert(
      fc.property(target, property, descriptor, (on, member, described) => {
        const isMethod =
          typeof on !== 'function' &&
          member !== undefined &&
          typeof (described as PropertyDescriptor | null | undefined)?.value === 'function';
        const decorate = (): void => Locked('key')(on, member as string, described as never);
        if (isMethod) decorate();
        else expect(decorate).toThrow(LockError);
      }),
      seeded(200),
    );
  });
});
