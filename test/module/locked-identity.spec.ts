import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { Body, Injectable, Param, SetMetadata, UseGuards, applyDecorators, type Type } from '@nestjs/common';
import { Locked, LockModule } from '../../lib/index.js';
import { start } from './applications.js';
import { RecordingStore } from './recording-store.js';

class CreateOrder {
  readonly amount = 1;
}

class AllowAll {
  canActivate(): boolean {
    return true;
  }
}

const API_RESPONSE = 'swagger/apiResponse';

/** A decorator that stores its metadata on the function, as those of Swagger do. */
const ApiResponse = (description: string) => SetMetadata(API_RESPONSE, { 201: { description } });
/** A decorator that stores its metadata on the class, under the name of the method. */
const Documented =
  (text: string): MethodDecorator =>
  (target, name) =>
    Reflect.defineMetadata('documented', text, target, name);

const metadataOf = (method: object): Record<string, unknown> =>
  Object.fromEntries(
    Reflect.getMetadataKeys(method)
      .filter((key) => typeof key === 'string')
      .map((key) => [key, Reflect.getMetadata(key, method) as unknown]),
  );

const methodOf = (type: Type, name: string): Function =>
  Object.getOwnPropertyDescriptor(type.prototype, name)?.value as Function;

async function make<Job>(job: Type<Job>): Promise<Job> {
  const app = await start({
    imports: [LockModule.forRoot({ store: new RecordingStore() })],
    providers: [job],
  });
  return app.get(job);
}

describe('a method under @Locked()', () => {
  const secret = Symbol('secret');

  @Injectable()
  class Orders {
    readonly #calls: unknown[] = [];

    @SetMetadata('other', true)
    async plain(_order: CreateOrder, _id: string, _rest?: number): Promise<CreateOrder> {
      return new CreateOrder();
    }

    @Locked()
    async locked(_order: CreateOrder, _id: string, _rest?: number): Promise<CreateOrder> {
      return new CreateOrder();
    }

    @Locked({ key: (...parts: unknown[]) => `parts/${parts.length}` })
    async record(...parts: unknown[]): Promise<{ self: Orders; calls: unknown[] }> {
      this.#calls.push(...parts);
      return { self: this, calls: this.#calls };
    }

    @Locked()
    async [secret](): Promise<string> {
      return 'by symbol';
    }

    @Locked()
    async defaults(a = 1, b = a + 1): Promise<number[]> {
      return [a, b];
    }
  }

  it('B62 a locked method keeps its name and length', () => {
    const nameAndLength = (name: string): unknown => [
      methodOf(Orders, name).name,
      methodOf(Orders, name).length,
    ];
    expect(nameAndLength('plain')).toEqual(['plain', 3]);
    expect(nameAndLength('locked')).toEqual(['locked', 3]);
    expect(nameAndLength('defaults')).toEqual(['defaults', 0]);
  });

  it('B62 a locked method is writable, configurable and not enumerable, like other methods', () => {
    const { value: _, ...plain } = Object.getOwnPropertyDescriptor(Orders.prototype, 'plain')!;
    const { value: __, ...locked } = Object.getOwnPropertyDescriptor(Orders.prototype, 'locked')!;
    expect(locked).toEqual(plain);
  });

  it.each(['design:type', 'design:paramtypes', 'design:returntype'])(
    'B62 a locked method keeps the metadata %s',
    (key) => {
      const plain: unknown = Reflect.getMetadata(key, Orders.prototype, 'plain');
      expect(plain).toBeDefined();
      expect(Reflect.getMetadata(key, Orders.prototype, 'locked')).toEqual(plain);
    },
  );

  it('B62 a locked method keeps its this, arguments and result, and can use private members', async () => {
    const orders = await make(Orders);
    const first = await orders.record('a', 1);
    expect(first.self).toBe(orders);
    expect(first.calls).toEqual(['a', 1]);
    expect((await orders.record(undefined, null)).calls).toEqual(['a', 1, undefined, null]);
    expect(await orders.defaults()).toEqual([1, 2]);
    expect(await orders.defaults(undefined, 7)).toEqual([1, 7]);
    expect(await orders[secret]()).toBe('by symbol');
  });

  it('B62 @Locked() adds no properties to the instance or the prototype', async () => {
    const orders = await make(Orders);
    expect(Object.keys(orders)).toEqual([]);
    expect(JSON.stringify(orders)).toBe('{}');
    expect(Reflect.ownKeys(Orders.prototype)).toEqual([
      'constructor',
      'plain',
      'locked',
      'record',
      'defaults',
      secret,
    ]);
  });

  const others = applyDecorators(
    SetMetadata('roles', ['admin']),
    ApiResponse('created'),
    Documented('ships it'),
    UseGuards(AllowAll),
  );

  class Plain {
    @others
    async ship(@Param('id') _id: string, @Body() _order: CreateOrder): Promise<void> {}
  }

  class Above {
    @others
    @Locked()
    async ship(@Param('id') _id: string, @Body() _order: CreateOrder): Promise<void> {}
  }

  class Below {
    @Locked()
    @others
    async ship(@Param('id') _id: string, @Body() _order: CreateOrder): Promise<void> {}
  }

  it.each([
    ['above', Above],
    ['below', Below],
  ])('B62 a locked method keeps the metadata of decorators that are %s @Locked()', (_, job) => {
    const plain = metadataOf(methodOf(Plain, 'ship'));
    expect(plain).toMatchObject({ roles: ['admin'], [API_RESPONSE]: { 201: { description: 'created' } } });
    expect(metadataOf(methodOf(job, 'ship'))).toEqual(plain);
    expect(Reflect.getMetadata('documented', job.prototype, 'ship')).toBe('ships it');
    expect(Reflect.getOwnMetadataKeys(methodOf(job, 'ship'))).toEqual(
      expect.arrayContaining(Reflect.getOwnMetadataKeys(methodOf(Plain, 'ship'))),
    );
    expect(Reflect.getMetadata('__routeArguments__', job, 'ship')).toEqual(
      Reflect.getMetadata('__routeArguments__', Plain, 'ship'),
    );
  });

  it('B62 @Locked() adds no metadata to the original function', () => {
    let original: object = {};
    const capture: MethodDecorator = (_target, _name, descriptor) => {
      original = descriptor.value as object;
    };
    class Job {
      @Locked()
      @capture
      async run(): Promise<void> {}
    }
    expect(Reflect.getOwnMetadataKeys(original)).toEqual([]);
    expect(methodOf(Job, 'run')).not.toBe(original);
  });

  it('B59 the caller of a locked method gets exactly the value that its body throws', async () => {
    @Injectable()
    class Failing {
      @Locked()
      async fail(error: unknown): Promise<void> {
        throw error;
      }
      @Locked()
      sync(error: unknown): Promise<void> {
        throw error;
      }
    }
    const store = new RecordingStore();
    const app = await start({ imports: [LockModule.forRoot({ store })], providers: [Failing] });
    const bug = new RangeError('bug');
    await expect(app.get(Failing).fail(bug)).rejects.toBe(bug);
    await expect(app.get(Failing).fail(undefined)).rejects.toBeUndefined();
    await expect(app.get(Failing).sync(bug)).rejects.toBe(bug);
    expect(await store.inspect('Failing.fail')).toMatchObject({
      state: 'free',
      lastRun: { outcome: 'failed' },
    });
  });
});
