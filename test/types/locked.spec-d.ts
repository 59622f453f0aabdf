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

// B60 all forms of @Locked()
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

  // @ts-expect-error options come after a key, or alone
  @Locked({ key: 'key' }, { wait: 5 })
  async optionsTwice(): Promise<void> {}

  // @ts-expect-error a key that may be missing would be the default key in silence
  @Locked(process.env['KEY'])
  async maybe(): Promise<void> {}
}

// B60 the key function takes the parameters of the method, or fewer
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

  // @ts-expect-error the method takes a number
  @Locked({ key: (id: string) => id })
  async wrongType(_id: number): Promise<void> {}

  // @ts-expect-error the method takes one parameter
  @Locked({ key: (id: string, copies: number) => `${id} ${copies}` })
  async more(_id: string): Promise<void> {}

  // @ts-expect-error the second parameter is a number
  @Locked({ key: (id: string, copies: string) => id + copies })
  async wrongSecond(_id: string, _copies: number): Promise<void> {}

  // @ts-expect-error the method may be called without it
  @Locked({ key: (id: string) => id })
  async mayBeMissing(_id?: string): Promise<void> {}

  // @ts-expect-error the parameter may be null
  @Locked({ key: (order: Order) => order.id })
  async mayBeNull(_order: Order | null): Promise<void> {}

  // @ts-expect-error a key is a string
  @Locked({ key: (id: number) => id })
  async number(_id: number): Promise<void> {}

  // @ts-expect-error a key is not awaited
  @Locked({ key: async (id: string) => Promise.resolve(id) })
  async promise(_id: string): Promise<void> {}

  // @ts-expect-error a key may not be missing
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

  // E16 each function may take fewer parameters than the method, whatever the other one takes
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

  // @ts-expect-error E16 the method takes a number, whatever the key function takes
  @Locked({ key: () => 'key', onBusy: (_error, id: string) => id })
  async wrongTypeBesideAKey(_id: number): Promise<void> {}

  // @ts-expect-error E16 the method takes one parameter
  @Locked({ key: (id: number) => `o:${id}`, onBusy: (_error, id: number, more: number) => id + more })
  async moreBesideAKey(_id: number): Promise<void> {}

  // @ts-expect-error E16 the method takes a number, whatever onBusy takes
  @Locked({ key: (id: string) => id, onBusy: () => 'busy' })
  async wrongKeyBesideIt(_id: number): Promise<void> {}

  // @ts-expect-error E16 the method is synchronous
  @Locked({ key: (id: number) => `o:${id}`, onBusy: () => 'busy' })
  sync(_id: number): number {
    return _id;
  }

  // @ts-expect-error the method takes a number
  @Locked({ onBusy: (_error, id: string) => id })
  async wrongType(_id: number): Promise<void> {}

  // @ts-expect-error the method takes a number
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

  // @ts-expect-error the method is synchronous
  @Locked()
  nothing(): void {}

  // @ts-expect-error the method is synchronous
  @Locked()
  text(): string {
    return 'text';
  }

  // @ts-expect-error the method may return at once
  @Locked()
  maybe(): number | Promise<number> {
    return 1;
  }

  // @ts-expect-error the method is synchronous
  @Locked({ key: (id: string) => id })
  withKey(_id: string): boolean {
    return true;
  }

  // @ts-expect-error accessors take no lock
  @Locked()
  get accessor(): number {
    return 1;
  }

  // @ts-expect-error properties take no lock
  @Locked()
  property = async (): Promise<void> => {};
}

// B66 classes
@Locked()
export class Classes {}

@Locked({ once: 'tick', tickAhead: '1m', reentrant: true, stealAfter: '5m' })
export class Ticks {
  @Locked('slots', { once: '5m' })
  async slots(): Promise<void> {}

  // @ts-expect-error slots have no tick
  @Locked({ once: '5m', tickAhead: '1m' })
  async both(): Promise<void> {}
}

// B60 values of the options
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
  // @ts-expect-error a duration has a number
  { ttl: 's' },
  // @ts-expect-error a duration is not null
  { ttl: null },
  // @ts-expect-error renewEvery needs autoRenew
  { autoRenew: false, renewEvery: '10s' },
  // @ts-expect-error the option is misspelt
  { tll: '30s' },
  // @ts-expect-error a decorator has no signal
  { signal: AbortSignal.abort() },
  // @ts-expect-error onLost is a function
  { onLost: 'ignore' },
  // @ts-expect-error rejectOnLoss is a boolean
  { rejectOnLoss: 'false' },
  // @ts-expect-error a range has two ends
  { retry: { min: 5 } },
];

// The option types have names, so that users can build decorators on `@Locked()`.
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

  // @ts-expect-error the method is synchronous
  @NightlyJob('export')
  sync(): void {}
}

export class Injections {
  @InjectLockService() readonly property!: LockService;
  constructor(
    @InjectLockService() readonly locks: LockService,
    @InjectLockService('weak') readonly weak: LockService,
    // @ts-expect-error a module is named by a string
    @InjectLockService(LockService) readonly wrong: LockService,
  ) {}
}
