import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import {
  forwardRef,
  Inject,
  Injectable,
  Module,
  Scope,
  type CanActivate,
  type OnModuleInit,
  type Provider,
} from '@nestjs/common';
import { APP_GUARD, ContextIdFactory, LazyModuleLoader, ModuleRef } from '@nestjs/core';
import { Test } from '@nestjs/testing';
import { InjectLockService, Locked, LockError, LockModule, LockService } from '../../lib/index.js';
import { closeLater, logs, rootModule, start, stop } from './applications.js';
import { Gate } from './gate.js';
import { RecordingStore } from './recording-store.js';

async function startWith(...providers: Provider[]) {
  const store = new RecordingStore();
  const app = await start({ imports: [LockModule.forRoot({ store })], providers });
  return { app, store };
}

const lockedOnce = (key: string): string[] => [`acquire ${key}`, `release ${key}`];

describe('@Locked() on different providers', () => {
  it('B68 @Locked() works on request-scoped providers', async () => {
    @Injectable({ scope: Scope.REQUEST })
    class PerRequest {
      @Locked()
      async run(): Promise<PerRequest> {
        return this;
      }
    }

    const { app, store } = await startWith(PerRequest);
    const [one, two] = [
      await app.resolve(PerRequest, ContextIdFactory.create()),
      await app.resolve(PerRequest, ContextIdFactory.create()),
    ];
    expect(one).not.toBe(two);
    expect(await one.run()).toBe(one);
    expect(await two.run()).toBe(two);
    expect(store.calls).toEqual([...lockedOnce('PerRequest.run'), ...lockedOnce('PerRequest.run')]);
    expect(logs.of('log')).toEqual(['1 locked method: PerRequest.run (throw) store=memory']);
  });

  it('B68 @Locked() works on transient providers', async () => {
    @Injectable({ scope: Scope.TRANSIENT })
    class Each {
      @Locked()
      async run(): Promise<Each> {
        return this;
      }
    }

    @Injectable()
    class User {
      constructor(readonly each: Each) {}
    }

    @Injectable()
    class Other {
      constructor(readonly each: Each) {}
    }

    const { app, store } = await startWith(Each, User, Other);
    const made = [app.get(User).each, app.get(Other).each, await app.resolve(Each)];
    expect(new Set(made).size).toBe(3);
    for (const each of made) {
      store.calls.length = 0;
      expect(await each.run()).toBe(each);
      expect(store.calls).toEqual(lockedOnce('Each.run'));
    }
  });

  it('B68 @Locked() works on providers that depend on each other', async () => {
    @Injectable()
    class Chicken {
      constructor(@Inject(forwardRef(() => Egg)) readonly egg: { hatch(): Promise<string> }) {}
      @Locked()
      async lay(): Promise<string> {
        return this.egg.hatch();
      }
    }

    @Injectable()
    class Egg {
      constructor(@Inject(forwardRef(() => Chicken)) readonly chicken: Chicken) {}
      @Locked()
      async hatch(): Promise<string> {
        return 'hatched';
      }
    }

    const { app, store } = await startWith(Chicken, Egg);
    expect(await app.get(Chicken).lay()).toBe('hatched');
    expect(store.calls).toEqual(['acquire Chicken.lay', ...lockedOnce('Egg.hatch'), 'release Chicken.lay']);
    expect(await app.get(Egg).chicken.egg.hatch()).toBe('hatched');
  });

  it('B68 @Locked() works on a module and on a guard', async () => {
    let modules = 0;

    @Module({})
    class Warm implements OnModuleInit {
      async onModuleInit(): Promise<void> {
        await this.up();
      }
      @Locked()
      async up(): Promise<void> {
        modules++;
      }
    }

    @Injectable()
    class Limit implements CanActivate {
      @Locked()
      async canActivate(): Promise<boolean> {
        return true;
      }
    }

    const store = new RecordingStore();
    await start({
      imports: [LockModule.forRoot({ store }), Warm],
      providers: [{ provide: APP_GUARD, useClass: Limit }],
    });
    expect(modules).toBe(1);
    expect(store.calls).toEqual(lockedOnce('Warm.up'));
    expect(logs.of('log')[0]).toContain('Limit.canActivate (throw)');
  });

  it('B68 @Locked() works on providers of a module that is loaded later', async () => {
    @Injectable()
    class Late {
      @Locked()
      async run(): Promise<string> {
        return 'late';
      }
    }

    @Module({ providers: [Late], exports: [Late] })
    class LateModule {}

    const { app, store } = await startWith();
    const late = await app.get(LazyModuleLoader).load(() => LateModule);
    expect(await late.get(Late).run()).toBe('late');
    expect(store.calls).toEqual(lockedOnce('Late.run'));
  });

  class Report {
    @Locked()
    async build(): Promise<string> {
      return 'built';
    }
  }

  it.each<[string, () => Provider]>([
    ['a factory', () => ({ provide: Report, useFactory: () => new Report() })],
    ['an async factory', () => ({ provide: Report, useFactory: async () => Promise.resolve(new Report()) })],
    ['a value', () => ({ provide: Report, useValue: new Report() })],
  ])('B68 @Locked() works on the object of %s', async (_, provider) => {
    const { app, store } = await startWith(provider());
    expect(await app.get(Report).build()).toBe('built');
    expect(store.calls).toEqual(lockedOnce('Report.build'));
    expect(Object.keys(app.get(Report))).toEqual([]);
    expect(logs.of('log')).toEqual(['1 locked method: Report.build (throw) store=memory']);
  });

  it('B68 @Locked() of two modules works on one method of an object that a factory returns', async () => {
    class Both {
      @Locked('outer')
      @Locked('inner', { module: 'weak' })
      async run(): Promise<void> {}
    }

    const [store, weak] = [new RecordingStore(), new RecordingStore()];
    const app = await start({
      imports: [LockModule.forRoot({ store }), LockModule.forRoot({ name: 'weak', store: weak })],
      providers: [{ provide: Both, useFactory: () => new Both() }],
    });
    await app.get(Both).run();
    expect([store.calls, weak.calls]).toEqual([lockedOnce('outer'), lockedOnce('inner')]);
  });

  it('B68 @Locked() works on a value that several applications provide, one after the other', async () => {
    const report = new Report();
    for (let round = 1; round <= 3; round++) {
      const { app, store } = await startWith({ provide: Report, useValue: report });
      expect(await app.get(Report).build()).toBe('built');
      expect(store.calls).toEqual(lockedOnce('Report.build'));
      await stop(app);
    }
  });

  it('B68 @Locked() works on objects of moduleRef.create()', async () => {
    const { app, store } = await startWith();
    const report = await app.get(ModuleRef).create(Report);
    expect(await report.build()).toBe('built');
    expect(store.calls).toEqual(lockedOnce('Report.build'));
  });

  it('B68 @Locked() works on providers that a test overrides', async () => {
    @Injectable()
    class Mailer {
      @Locked()
      async send(): Promise<string> {
        return 'sent';
      }
    }

    @Injectable()
    class Fake {
      @Locked()
      async send(): Promise<string> {
        return 'faked';
      }
    }

    const store = new RecordingStore();
    const build = () =>
      Test.createTestingModule({
        imports: [rootModule({ imports: [LockModule.forRoot({ store })], providers: [Mailer] })],
      }).setLogger(logs);

    const app = closeLater(await build().overrideProvider(Mailer).useClass(Fake).compile());
    await app.init();
    expect(await app.get(Mailer, { strict: false }).send()).toBe('faked');
    expect(store.calls).toEqual(lockedOnce('Fake.send'));

    const mocked = closeLater(
      await build()
        .overrideProvider(Mailer)
        .useValue({ send: async () => Promise.resolve('mocked') })
        .compile(),
    );
    await mocked.init();
    expect(await mocked.get(Mailer, { strict: false }).send()).toBe('mocked');

    const given = new Mailer();
    const withValue = closeLater(await build().overrideProvider(Mailer).useValue(given).compile());
    await withValue.init();
    expect(await withValue.get(Mailer, { strict: false }).send()).toBe('sent');
    expect(store.calls).toEqual([...lockedOnce('Fake.send'), ...lockedOnce('Mailer.send')]);
  });
});

describe('a test that overrides LockService', () => {
  it('B68 if a test overrides LockService, the start fails, and the error advises LockTestingModule', async () => {
    const app = await Test.createTestingModule({
      imports: [LockModule.forRoot({ store: new RecordingStore() })],
    })
      .setLogger(logs)
      .overrideProvider(LockService)
      .useValue({ run: (_key: string, body: () => unknown) => body() })
      .compile();
    await expect(app.init()).rejects.toThrow(LockError);
    await expect(app.init()).rejects.toThrow(
      'import LockTestingModule from "nestjs-locked/testing" instead of LockModule, or set { enabled: false }',
    );
  });
});

describe('subclasses', () => {
  const log: string[] = [];

  abstract class Import {
    @Locked()
    async run(): Promise<string> {
      log.push(`base for ${this.constructor.name}`);
      return 'base';
    }

    @Locked('shared')
    async shared(): Promise<void> {}
  }

  @Injectable()
  class Customers extends Import {}

  @Injectable()
  class Products extends Import {}

  it('B61 each subclass has its own default key, but a key given in the base class applies to all', async () => {
    const { app, store } = await startWith(Customers, Products);
    await app.get(Customers).run();
    await app.get(Products).run();
    expect(store.calls).toEqual([...lockedOnce('Customers.run'), ...lockedOnce('Products.run')]);

    store.calls.length = 0;
    await app.get(Customers).shared();
    await app.get(Products).shared();
    expect(store.calls).toEqual([...lockedOnce('shared'), ...lockedOnce('shared')]);
    expect(logs.of('log')).toEqual([
      '3 locked methods: Customers.run (throw), Import.shared (throw), Products.run (throw) store=memory',
    ]);
  });

  it('B68 an override without @Locked() runs without a lock until it calls the locked base method', async () => {
    @Injectable()
    class Plain extends Import {
      override async run(): Promise<string> {
        return 'plain';
      }
    }

    @Injectable()
    class CallsBase extends Import {
      override async run(): Promise<string> {
        return `more than ${await super.run()}`;
      }
    }

    const { app, store } = await startWith(Plain, CallsBase);
    expect(logs.of('log')).toEqual(['1 locked method: Import.shared (throw) store=memory']);
    expect(await app.get(Plain).run()).toBe('plain');
    expect(store.calls).toEqual([]);
    expect(await app.get(CallsBase).run()).toBe('more than base');
    expect(store.calls).toEqual(lockedOnce('CallsBase.run'));
  });

  it('B68 an override with its own @Locked() uses only the options of its own decorator', async () => {
    @Injectable()
    class Special extends Import {
      @Locked({ key: 'special' })
      override async run(): Promise<string> {
        return 'special';
      }
    }

    @Injectable()
    class SpecialAndBase extends Import {
      @Locked('around')
      override async run(): Promise<string> {
        return `special ${await super.run()}`;
      }
    }

    const { app, store } = await startWith(Special, SpecialAndBase);
    expect(logs.of('log')).toEqual([
      '3 locked methods: Special.run (throw), Import.shared (throw), SpecialAndBase.run (throw) store=memory',
    ]);
    expect(await app.get(Special).run()).toBe('special');
    expect(store.calls).toEqual(lockedOnce('special'));
    store.calls.length = 0;
    expect(await app.get(SpecialAndBase).run()).toBe('special base');
    expect(store.calls).toEqual(['acquire around', ...lockedOnce('SpecialAndBase.run'), 'release around']);
  });

  it('B68 a subclass can add locked methods, even with the locks of another module', async () => {
    @Injectable()
    class More extends Import {
      constructor(@InjectLockService() readonly locks: LockService) {
        super();
      }

      @Locked({ module: 'weak' })
      async more(): Promise<void> {}
    }

    @Injectable()
    class MostOfAll extends More {
      @Locked()
      async most(): Promise<void> {}
    }

    const [store, weak] = [new RecordingStore(), new RecordingStore()];
    const app = await start({
      imports: [LockModule.forRoot({ store }), LockModule.forRoot({ name: 'weak', store: weak })],
      providers: [More, MostOfAll, Customers],
    });
    const most = app.get(MostOfAll);
    await most.run();
    await most.more();
    await most.most();
    await app.get(Customers).run();
    expect(store.calls).toEqual([
      ...lockedOnce('MostOfAll.run'),
      ...lockedOnce('MostOfAll.most'),
      ...lockedOnce('Customers.run'),
    ]);
    expect(weak.calls).toEqual(lockedOnce('MostOfAll.more'));
  });
});

describe('an object that the container did not make', () => {
  let ran = 0;

  @Injectable()
  class Job {
    @Locked()
    async run(): Promise<void> {
      ran++;
    }

    @Locked({ onBusy: 'skip', key: () => 'key' })
    async skip(): Promise<void> {
      ran++;
    }
  }

  const rejected = async (call: () => Promise<unknown>): Promise<void> => {
    ran = 0;
    const error: unknown = await call().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(LockError);
    expect((error as Error).message).toMatch(/^Job\.(run|skip)\(\) is under @Locked\(\)/);
    expect((error as Error).message).toContain('withoutLocks(instance) from "nestjs-locked/testing"');
    expect(ran).toBe(0);
  };

  it('B68 a locked method of an object made with new rejects without running', async () => {
    await rejected(() => new Job().run());
    await rejected(() => new Job().skip());
  });

  it('B68 a locked method of an object made with new rejects even while an application runs', async () => {
    const { store } = await startWith(Job);
    await rejected(() => new Job().run());
    expect(store.calls).toEqual([]);
  });

  it('B68 a locked method rejects without running if `this` is not an instance that Nest created', async () => {
    const { app, store } = await startWith(Job);
    const run = Object.getOwnPropertyDescriptor(Job.prototype, 'run')?.value as Job['run'];
    for (const self of [undefined, null, {}, 'text', 7, new Gate()]) {
      await rejected(() => run.call(self as never));
    }
    expect(store.calls).toEqual([]);
    await app.get(Job).run();
    expect(ran).toBe(1);
  });

  it('B68 a locked method that is bound to its object runs under its lock', async () => {
    const { app, store } = await startWith(Job);
    const job = app.get(Job);
    await [1].map(job.run.bind(job))[0];
    expect(store.calls).toEqual(lockedOnce('Job.run'));
  });
});
