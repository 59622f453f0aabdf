// Types that `@Locked()` accepts and refuses on methods; `tsc -p tsconfig.json` is the test.
import { expectTypeOf } from 'expect-type';
import { of, type Observable } from 'rxjs';
import {
  InjectLockService,
  Locked,
  LockService,
  type LockedOptions,
  type LockNotAcquiredError,
} from '../../lib/index.js';
import type { LockedBehaviour, OnBusy } from '../../lib/decorators/locked.options.js';

class Order {
  readonly id: string = '7';
}

// B60 the forms in which @Locked() can be written
export class Forms {
  @Locked()
  async nothing(_id: string): Promise<void> {}

  @Locked('key')
  async key(_id: string): Promise<void> {}

  @Locked('key', { wait: '5s', ttl: Infinity, label: 'me', minHold: '1m', onBusy: 'throw' })
  async keyAndOptions(_id: string): Promise<void> {}

  @Locked({ wait: 5, rejectOnLoss: false, module: 'weak' })
  async options(_id: string): Promise<void> {}

  @Locked({ key: 'key', onLost: (lock, error) => `${lock.key} ${error.fencingToken}` })
  async keyInOptions(_id: string): Promise<void> {}

  // @ts-expect-error the key is given twice
  @Locked('key', { key: 'key' })
  async twoKeys(): Promise<void> {}

  // @ts-expect-error a key is a string
  @Locked(7)
  async number(): Promise<void> {}

  // @ts-expect-error options can come after a key or alone, but not after other options
  @Locked({ key: 'key' }, { wait: 5 })
  async optionsTwice(): Promise<void> {}

  // @ts-expect-error if the key were undefined, @Locked() would silently use its default key
  @Locked(process.env['KEY'])
  async maybe(): Promise<void> {}
}

// B60 the key function takes the parameters of the method, or fewer parameters
export class Keys {
  @Locked({ key: (id: string, copies: number) => `${id} ${copies}` })
  async same(_id: string, _copies: number): Promise<void> {}

  @Locked({ key: (id: string) => id })
  async fewer(_id: string, _copies: number): Promise<void> {}

  @Locked({ key: () => 'key' })
  async none(_id: string, _copies: number): Promise<void> {}

  @Locked({ key: (...all: unknown[]) => all.join() })
  async rest(_id: string, _copies: number): Promise<void> {}

  @Locked({ key: ({ id }: { id: string }) => id })
  async structural(_order: Order): Promise<void> {}

  @Locked({ key: (id: string | number) => `${id}` })
  async wider(_id: string): Promise<void> {}

  @Locked({ key: (id: string, copies?: number) => `${id} ${copies}` })
  async optional(_id: string, _copies?: number): Promise<void> {}

  @Locked({ key: (first: string, ...more: number[]) => `${first} ${more.length}` })
  async variadic(_first: string, ..._more: number[]): Promise<void> {}

  @Locked({ key: (items: readonly string[]) => items.join() })
  async arrays(_items: string[]): Promise<void> {}

  // @ts-expect-error the key function takes a string, but the method a number
  @Locked({ key: (id: string) => id })
  async wrongType(_id: number): Promise<void> {}

  // @ts-expect-error the key function takes two parameters, but the method one
  @Locked({ key: (id: string, copies: number) => `${id} ${copies}` })
  async more(_id: string): Promise<void> {}

  // @ts-expect-error the second parameter is a number, but the key function takes a string
  @Locked({ key: (id: string, copies: string) => id + copies })
  async wrongSecond(_id: string, _copies: number): Promise<void> {}

  // @ts-expect-error the key function needs a parameter that callers may leave out
  @Locked({ key: (id: string) => id })
  async mayBeMissing(_id?: string): Promise<void> {}

  // @ts-expect-error the key function needs a parameter that may be null
  @Locked({ key: (order: Order) => order.id })
  async mayBeNull(_order: Order | null): Promise<void> {}

  // @ts-expect-error the key function returns a number, but a key is a string
  @Locked({ key: (id: number) => id })
  async number(_id: number): Promise<void> {}

  // @ts-expect-error the key function returns a promise, which is not awaited
  @Locked({ key: async (id: string) => Promise.resolve(id) })
  async promise(_id: string): Promise<void> {}

  // @ts-expect-error the key function may return undefined, but a key is a string
  @Locked({ key: (id: string): string | undefined => (id ? id : undefined) })
  async maybe(_id: string): Promise<void> {}
}

// B63 onBusy gets the error and the parameters of the method
export class Busy {
  @Locked({
    onBusy: (error, id: string) => {
      expectTypeOf(error).toEqualTypeOf<LockNotAcquiredError>();
      return id;
    },
  })
  async error(_id: string): Promise<void> {}

  @Locked('key', { onBusy: async (error, id: string, copies: number) => [error.holder, id, copies] })
  async all(_id: string, _copies: number): Promise<void> {}

  @Locked({ onBusy: () => {} })
  async none(_id: string): Promise<void> {}

  @Locked({ key: (id: string) => id, onBusy: (_error, id: string, copies: number) => id + copies })
  async withKey(_id: string, _copies: number): Promise<void> {}

  // E16 `key` and `onBusy` may take different numbers of the method's parameters
  @Locked({ key: (id: number) => `o:${id}`, onBusy: () => 'busy' })
  async noneBesideAKey(_id: number): Promise<void> {}

  @Locked({ key: (id: number) => `o:${id}`, onBusy: (error) => error.reason })
  async errorBesideAKey(_id: number): Promise<void> {}

  @Locked({ key: (id: number, name: string) => id + name, onBusy: (_error, id: number) => id })
  async fewerBesideAKey(_id: number, _name: string): Promise<void> {}

  @Locked({ key: () => 'key', onBusy: (_error, id: number) => id })
  async besideAKeyOfNone(_id: number, _name: string): Promise<void> {}

  @Locked({ key: 'key', onBusy: async (_error, id: number) => id })
  async besideAFixedKey(_id: number, _name: string): Promise<void> {}

  @Locked({ key: (order: { id: string }) => order.id, onBusy: (_error, order: Order) => order, wait: '1s' })
  async structural(_order: Order): Promise<void> {}

  @Locked<[id: number]>({ key: (id) => `o:${id}`, onBusy: (_error, id) => id })
  async named(_id: number): Promise<void> {}

  // @ts-expect-error E16 onBusy takes a string, but the method a number
  @Locked({ key: () => 'key', onBusy: (_error, id: string) => id })
  async wrongTypeBesideAKey(_id: number): Promise<void> {}

  // @ts-expect-error E16 onBusy takes two parameters, but the method one
  @Locked({ key: (id: number) => `o:${id}`, onBusy: (_error, id: number, more: number) => id + more })
  async moreBesideAKey(_id: number): Promise<void> {}

  // @ts-expect-error E16 the key function takes a string, but the method a number
  @Locked({ key: (id: string) => id, onBusy: () => 'busy' })
  async wrongKeyBesideIt(_id: number): Promise<void> {}

  // @ts-expect-error E16 a synchronous method cannot wait for a lock
  @Locked({ key: (id: number) => `o:${id}`, onBusy: () => 'busy' })
  sync(_id: number): number {
    return _id;
  }

  // @ts-expect-error onBusy takes a string, but the method a number
  @Locked({ onBusy: (_error, id: string) => id })
  async wrongType(_id: number): Promise<void> {}

  // @ts-expect-error onBusy takes a string, but the method a number
  @Locked('key', { onBusy: (_error, id: string) => id })
  async wrongTypeWithKey(_id: number): Promise<void> {}

  // @ts-expect-error 'wait' is no value of onBusy
  @Locked({ onBusy: 'wait' })
  async word(): Promise<void> {}
}

// B60 methods that return at once cannot wait for a lock
export class Answers {
  @Locked()
  async promise(): Promise<number> {
    return 1;
  }

  @Locked()
  promiseLike(): PromiseLike<number> {
    return Promise.resolve(1);
  }

  @Locked()
  observable(): Observable<number> {
    return of(1);
  }

  @Locked()
  async *generator(): AsyncGenerator<number> {
    yield await Promise.resolve(1);
  }

  @Locked()
  async generic<T>(value: T): Promise<T> {
    return value;
  }

  // @ts-expect-error a synchronous method cannot wait for a lock
  @Locked()
  nothing(): void {}

  // @ts-expect-error a synchronous method cannot wait for a lock
  @Locked()
  text(): string {
    return 'text';
  }

  // @ts-expect-error a method that may return without a promise cannot wait for a lock
  @Locked()
  maybe(): number | Promise<number> {
    return 1;
  }

  // @ts-expect-error a synchronous method cannot wait for a lock
  @Locked({ key: (id: string) => id })
  withKey(_id: string): boolean {
    return true;
  }

  // @ts-expect-error accessors cannot have @Locked()
  @Locked()
  get accessor(): number {
    return 1;
  }

  // @ts-expect-error properties cannot have @Locked()
  @Locked()
  property = async (): Promise<void> => {};
}

// B66 @Locked() on classes
@Locked()
export class Classes {}

@Locked({ once: 'tick', tickAhead: '1m', reentrant: true, stealAfter: '5m' })
export class Ticks {
  @Locked('slots', { once: '5m' })
  async slots(): Promise<void> {}

  // @ts-expect-error tickAhead needs ticks, which `once` with a length of time does not have
  @Locked({ once: '5m', tickAhead: '1m' })
  async both(): Promise<void> {}
}

// B60 values that the options accept and refuse
export const good: LockedOptions[] = [
  {},
  { ttl: '30s', wait: '1.5 h', minHold: '2 minutes', retry: { min: 5, max: '1s' } },
  { retry: (attempt) => attempt * 10 },
  { autoRenew: false },
  { autoRenew: true, renewEvery: '10s' },
  { renewEvery: 1000 },
];
export const bad: LockedOptions[] = [
  // @ts-expect-error durations have no such unit
  { ttl: '30 parsecs' },
  // @ts-expect-error durations have no such unit
  { wait: '5 fortnights' },
  // @ts-expect-error a duration needs a number before its unit
  { ttl: 's' },
  // @ts-expect-error a duration is not null
  { ttl: null },
  // @ts-expect-error renewEvery needs autoRenew
  { autoRenew: false, renewEvery: '10s' },
  // @ts-expect-error the option is misspelt
  { tll: '30s' },
  // @ts-expect-error the options of @Locked() contain no signal
  { signal: AbortSignal.abort() },
  // @ts-expect-error onLost is a function
  { onLost: 'ignore' },
  // @ts-expect-error rejectOnLoss is a boolean
  { rejectOnLoss: 'false' },
  // @ts-expect-error a range needs both `min` and `max`
  { retry: { min: 5 } },
];

// The types of the options are exported, so that users can write decorators that build on
// `@Locked()`.
export const fitting = (options: LockedOptions<[id: string]>) => Locked(options);

expectTypeOf<LockedOptions<[id: string]>['key']>().toEqualTypeOf<
  string | ((id: string) => string) | undefined
>();
expectTypeOf<LockedBehaviour<[id: string]>['onBusy']>().toEqualTypeOf<OnBusy<[id: string]> | undefined>();
expectTypeOf<Extract<OnBusy<[id: string]>, string>>().toEqualTypeOf<'skip' | 'throw'>();
expectTypeOf<LockedBehaviour>().not.toHaveProperty('key');

export const NightlyJob = (key: string) => Locked(key, { onBusy: 'skip', ttl: '10m' });

export class Composed {
  @NightlyJob('export')
  async run(_id: string): Promise<void> {}

  // @ts-expect-error a decorator that builds on @Locked() refuses a synchronous method too
  @NightlyJob('export')
  sync(): void {}
}

export class Injections {
  @InjectLockService() readonly property!: LockService;
  constructor(
    @InjectLockService() readonly locks: LockService,
    @InjectLockService('weak') readonly weak: LockService,
    // @ts-expect-error a module is named by a string, not by a class
    @InjectLockService(LockService) readonly wrong: LockService,
  ) {}
}
