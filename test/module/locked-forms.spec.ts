import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { Injectable, Module, type Type } from '@nestjs/common';
import {
  getLockServiceToken,
  Locked,
  LockError,
  LockModule,
  LockService,
  type LockedOptions,
} from '../../lib/index.js';
import { start, startError } from './applications.js';
import { RecordingStore } from './recording-store.js';

async function startWith<Job>(job: Type<Job>) {
  const store = new RecordingStore();
  const app = await start({ imports: [LockModule.forRoot({ store })], providers: [job] });
  return { store, job: app.get(job), locks: app.get<LockService>(getLockServiceToken()) };
}

describe('forms of @Locked()', () => {
  it('B60 @Locked() can be called without arguments, with a key, with options, or with both', async () => {
    @Injectable()
    class Forms {
      @Locked()
      async nothing(): Promise<void> {}

      @Locked('a key')
      async key(): Promise<void> {}

      @Locked('a key and options', { label: 'two' })
      async keyAndOptions(): Promise<void> {}

      @Locked({})
      async noOptions(): Promise<void> {}

      @Locked({ label: 'three' })
      async options(): Promise<void> {}

      @Locked({ key: 'in options', label: 'four' })
      async keyInOptions(): Promise<void> {}

      @Locked({ key: (id: string, copies: number) => `${id} x ${copies}` })
      async function(_id: string, _copies: number): Promise<void> {}

      @Locked({ key: (id: string) => `only ${id}` })
      async fewerParameters(_id: string, _copies: number): Promise<void> {}
    }

    const { store, job } = await startWith(Forms);
    const keyOf = async (call: Promise<unknown>): Promise<string> => {
      await call;
      const [acquire, release, ...more] = store.calls.splice(0);
      expect([acquire?.replace('acquire', 'release'), more]).toEqual([release, []]);
      return acquire?.slice('acquire '.length) ?? '';
    };
    expect(await keyOf(job.nothing())).toBe('Forms.nothing');
    expect(await keyOf(job.key())).toBe('a key');
    expect(await keyOf(job.keyAndOptions())).toBe('a key and options');
    expect(await keyOf(job.noOptions())).toBe('Forms.noOptions');
    expect(await keyOf(job.options())).toBe('Forms.options');
    expect(await keyOf(job.keyInOptions())).toBe('in options');
    expect(await keyOf(job.function('order', 2))).toBe('order x 2');
    expect(await keyOf(job.fewerParameters('order', 2))).toBe('only order');

    const labelOf = async (key: string) => (await store.inspect(key)).lastRun?.label;
    expect(await labelOf('a key and options')).toBe('two');
    expect(await labelOf('Forms.options')).toBe('three');
    expect(await labelOf('in options')).toBe('four');
  });

  it('B60 two methods with the same key exclude each other', async () => {
    @Injectable()
    class Orders {
      constructor(readonly locks: LockService) {}

      @Locked({ key: (id: string) => `order:${id}` })
      async ship(_id: string): Promise<unknown> {
        return this.cancel('7').catch((error: Error) => error.name);
      }

      @Locked({ key: (id: string) => `order:${id}` })
      async cancel(_id: string): Promise<void> {}
    }

    const { job } = await startWith(Orders);
    expect(await job.ship('7')).toBe('LockNotAcquiredError');
    expect(await job.ship('8')).toBeUndefined();
  });
});

describe('key functions', () => {
  const ran: string[] = [];

  @Injectable()
  class Keys {
    @Locked({ key: (make: () => unknown) => make() as string })
    async run(_make: () => unknown): Promise<string> {
      ran.push('ran');
      return 'done';
    }
  }

  it.each<[string, () => unknown, RegExp]>([
    ['a promise', async () => Promise.resolve('key'), /must be a string, but it is of type object/],
    ['a number', () => 7, /must be a string, but it is of type number/],
    ['nothing', () => undefined, /must be a string, but it is undefined/],
    ['an empty string', () => '', /must not be empty/],
    ['an array', () => ['a'], /must be a string, but it is an array/],
    ['a NUL', () => 'a\0b', /NUL/],
    ['more than 4 KiB', () => 'x'.repeat(5000), /5000 bytes; the limit is 4096/],
  ])(
    'B60 if a key function returns %s, the call rejects, and the method does not run',
    async (_, make, problem) => {
      ran.length = 0;
      const { store, job } = await startWith(Keys);
      const error: unknown = await job.run(make).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(LockError);
      expect((error as Error).message).toMatch(problem);
      expect((error as Error).message).toContain(
        'The key function of @Locked() on Keys.run returned no key.',
      );
      expect([store.calls, ran]).toEqual([[], []]);
    },
  );

  it('B60 if a key function returns a rejected promise, there is no unhandled rejection', async () => {
    const { job } = await startWith(Keys);
    await expect(job.run(() => Promise.reject(new Error('no key')))).rejects.toThrow(LockError);
  });

  it('B60 if the key function throws, the call rejects with the error of the key function, and the method does not run', async () => {
    ran.length = 0;
    const { store, job } = await startWith(Keys);
    const bug = new TypeError('no id');
    const call = job.run(() => {
      throw bug;
    });
    await expect(call).rejects.toBe(bug);
    expect([store.calls, ran]).toEqual([[], []]);
  });

  it('B41 a key function may return a key that is longer than the key column of the database', async () => {
    const { store, job } = await startWith(Keys);
    expect(await job.run(() => 'x'.repeat(4096))).toBe('done');
    expect(store.calls).toHaveLength(2);
  });
});

describe('wrong uses of @Locked()', () => {
  const decorate = (decorator: unknown) => (): unknown => {
    class Job {
      async run(): Promise<void> {}
    }
    (decorator as MethodDecorator)(
      Job.prototype,
      'run',
      Object.getOwnPropertyDescriptor(Job.prototype, 'run')!,
    );
    return Job;
  };
  const locked = Locked as (...given: unknown[]) => unknown;

  it.each<[string, unknown, RegExp]>([
    ['two keys', locked('a', { key: 'b' }), /Job\.run has two keys\. Give the key once/],
    ['options after options', locked({ key: 'b' }, { wait: 5 }), /Job\.run/],
    ['options after no key', locked(undefined, { wait: 5 }), /Job\.run/],
    ['an empty key', locked(''), /Job\.run.*must not be empty/],
    ['an empty key in options', locked({ key: '' }), /Job\.run.*must not be empty/],
    ['a number as key', locked({ key: 7 }), /Job\.run.*must be a string/],
    ['a number', locked(7), /Job\.run/],
    ['null', locked(null), /Job\.run must be an object, but they are null/],
    ['an over-long key', locked('x'.repeat(5000)), /Job\.run.*the limit is 4096/],
    ['unknown options', locked({ tll: '5s' }), /@Locked\(\) on Job\.run does not know the option "tll"/],
    ['a signal, which no decorator can have', locked({ signal: AbortSignal.abort() }), /"signal"/],
    ['a wrong onBusy', locked({ onBusy: 'wait' }), /"onBusy" of @Locked\(\) on Job\.run must be 'skip'/],
    ['a wrong onLost', locked({ onLost: 'throw' }), /"onLost" of @Locked\(\) on Job\.run/],
    ['a wrong ttl', locked({ ttl: '30 parsecs' }), /"ttl" of @Locked\(\) on Job\.run.*"30 parsecs"/],
    ['a negative wait', locked({ wait: -1 }), /"wait" of @Locked\(\) on Job\.run/],
    ['an interval without renewal', locked({ autoRenew: false, renewEvery: 50 }), /autoRenew: false/],
    ['a module without a name', locked({ module: '' }), /"module" of @Locked\(\) on Job\.run/],
    ['a module that is no name', locked({ module: LockModule }), /"module" of @Locked\(\) on Job\.run/],
  ])('B60 @Locked() with %s is refused when the class is defined', (_, decorator, message) => {
    expect(decorate(decorator)).toThrow(LockError);
    expect(decorate(decorator)).toThrow(message);
  });

  const any = Locked() as (...target: unknown[]) => void;

  it('B66 @Locked() on a class without methods is refused when the class is defined', () => {
    expect(() => {
      @any
      class Job {}
      return Job;
    }).toThrow(
      '@Locked() on the class Job finds nothing to lock: the class has no method that the scheduler calls',
    );
  });

  it('B60 @Locked() on a static method is refused', () => {
    expect(() => {
      class Job {
        @any
        static async run(): Promise<void> {}
      }
      return Job;
    }).toThrow('@Locked() on Job.run cannot work');
  });

  it('B60 @Locked() on an accessor is refused', () => {
    expect(() => {
      class Job {
        @any
        get run(): Promise<void> {
          return Promise.resolve();
        }
      }
      return Job;
    }).toThrow('@Locked() on Job.run cannot work');
  });

  it('B60 @Locked() on a property is refused', () => {
    expect(() => {
      class Job {
        @any
        run = async (): Promise<void> => {};
      }
      return Job;
    }).toThrow('@Locked() on Job.run cannot work');
  });

  it.each<[string, () => MethodDecorator]>([
    ['no key', Locked],
    ['one key', () => Locked('key')],
  ])('B60 @Locked() twice on one method with %s is refused', (_, decorator) => {
    expect(() => {
      class Job {
        @decorator()
        @decorator()
        async run(): Promise<void> {}
      }
      return Job;
    }).toThrow('Job.run is under @Locked() twice with one key: the inner call would wait for the outer one');
  });

  it('B60 @Locked() on a parameter is refused', () => {
    expect(() => {
      class Job {
        async run(@any _id: string): Promise<void> {}
      }
      return Job;
    }).toThrow('@Locked() on Job.run cannot work');
  });
});

describe('options of a decorator and of its module', () => {
  const job = (options: LockedOptions) => {
    @Injectable()
    class Job {
      @Locked(options)
      async run(): Promise<void> {}
    }
    return Job;
  };

  it('B52 a renewEvery too long for the ttl of the module fails the start, and the error names the method', async () => {
    const error = await startError({
      imports: [LockModule.forRoot({ store: new RecordingStore(), ttl: '1s' })],
      providers: [job({ renewEvery: '2s' })],
    });
    expect(error).toBeInstanceOf(LockError);
    expect(error.message).toContain('"renewEvery" of @Locked() on Job.run');
  });

  it('B52 a renewEvery of a method that fits the ttl of the module is accepted, even if it is too long for the default ttl', async () => {
    await start({
      imports: [LockModule.forRoot({ store: new RecordingStore(), ttl: '10m' })],
      providers: [job({ renewEvery: '1m' })],
    });
  });

  it('B73 wrong options fail the start even while locking is disabled', async () => {
    const error = await startError({
      imports: [LockModule.forRoot({ store: new RecordingStore(), ttl: '1s', enabled: false })],
      providers: [job({ renewEvery: '2s' })],
    });
    expect(error.message).toContain('"renewEvery" of @Locked() on Job.run');
  });
});

describe('the default key', () => {
  @Injectable()
  class Sync {
    @Locked()
    async run(): Promise<void> {}
  }

  const sameName = (key?: string): Type => {
    @Injectable()
    class Other {
      @Locked(key === undefined ? {} : { key })
      async run(): Promise<void> {}
    }
    Object.defineProperty(Other, 'name', { value: 'Sync' });
    return Other;
  };

  const imports = () => [LockModule.forRoot({ store: new RecordingStore() })];

  it('B61 the default key is ClassName.methodName', async () => {
    const { store, job } = await startWith(Sync);
    await job.run();
    expect(store.calls[0]).toBe('acquire Sync.run');
  });

  it('B61 two classes with the same default key fail the start, and the error says how to fix it', async () => {
    const error = await startError({ imports: imports(), providers: [Sync, sameName()] });
    expect(error).toBeInstanceOf(LockError);
    expect(error.message).toContain('"Sync.run"');
    expect(error.message).toContain("Give one of the methods a key: @Locked('…')");
  });

  it('B13 default keys are compared before the store is opened', async () => {
    let opened = false;
    const store = { useFactory: () => ((opened = true), new RecordingStore()) };
    await startError({ imports: [LockModule.forRoot({ store })], providers: [Sync, sameName()] });
    expect(opened).toBe(false);
    await start({ imports: [LockModule.forRoot({ store })], providers: [Sync] });
    expect(opened).toBe(true);
  });

  it('B61 equal default keys fail the start even if their classes belong to different modules', async () => {
    @Module({ controllers: [sameName()] })
    class Other {}

    const error = await startError({ imports: [...imports(), Other], providers: [Sync] });
    expect(error.message).toContain('"Sync.run"');
  });

  it('B61 equal default keys fail the start even if their method is inherited', async () => {
    abstract class Base {
      @Locked()
      async run(): Promise<void> {}
    }
    const inherit = (): Type => {
      @Injectable()
      class Import extends Base {}
      return Import;
    };
    const error = await startError({ imports: imports(), providers: [inherit(), inherit()] });
    expect(error.message).toContain('"Import.run"');
  });

  it('B61 two classes of one name are accepted if one of them gives its own key', async () => {
    await start({ imports: imports(), providers: [Sync, sameName('other')] });
    await start({ imports: imports(), providers: [sameName('other'), Sync] });
    await start({ imports: imports(), providers: [sameName('other'), sameName('another')] });
  });

  it('B61 equal default keys are found even if a third class of the same name gives its own key', async () => {
    const error = await startError({ imports: imports(), providers: [Sync, sameName('other'), sameName()] });
    expect(error.message).toContain('"Sync.run"');
  });

  it('B61 a class that two modules provide is accepted and keeps its default key', async () => {
    @Module({ providers: [Sync] })
    class One {}
    @Module({ providers: [Sync, { provide: 'again', useClass: Sync }] })
    class Two {}

    await start({ imports: [...imports(), One, Two] });
  });

  it('B61 two classes may have the same default key if they use different lock modules', async () => {
    @Injectable()
    class Other {
      @Locked({ module: 'other' })
      async run(): Promise<void> {}
    }
    Object.defineProperty(Other, 'name', { value: 'Sync' });

    const other = LockModule.forRoot({ name: 'other', store: new RecordingStore() });
    await start({ imports: [...imports(), other], providers: [Sync, Other] });
  });

  it('B61 a method of a class without a name cannot have a default key', async () => {
    const nameless = sameName();
    Object.defineProperty(nameless, 'name', { value: '' });
    const error = await startError({
      imports: imports(),
      providers: [{ provide: 'job', useClass: nameless }],
    });
    expect(error).toBeInstanceOf(LockError);
    expect(error.message).toContain('needs a key, since the class has no name');
  });
});
