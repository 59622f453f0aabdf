import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { Injectable, SetMetadata, UseGuards, UsePipes, type Type } from '@nestjs/common';
import { OnEvent } from '@nestjs/event-emitter';
import { Cron, Interval, Timeout } from '@nestjs/schedule';
import { from, isObservable, lastValueFrom, toArray } from 'rxjs';
import * as fc from 'fast-check';
import { Locked, LockContext, LockModule, LockNotAcquiredError } from '../../lib/index.js';
import { start, stop } from '../module/applications.js';
import { RecordingStore } from '../module/recording-store.js';
import { seeded } from './seeded.js';
import { anyValue } from './values.js';

/**
 * The decorated method of one case. No scheduler calls it, because the case does not import
 * the modules of the decorators.
 */
interface Method {
  name: string | symbol;
  kind: 'async' | 'promise' | 'value' | 'generator' | 'observable' | 'throws' | 'rejects';
  /**
   * `inherited`: the method belongs to the base class of the provider. `overridden`: the
   * provider overrides the method, and one of the two methods calls the other.
   */
  place: 'own' | 'inherited' | 'overridden';
  /**
   * The decorators from top to bottom. `Locked` is among them once, or twice with two
   * different keys.
   */
  decorators: readonly Decorator[];
  parameters: number;
  args: unknown[];
  result: unknown;
}

const others = {
  Cron: Cron('0 0 1 1 *'),
  'Cron with a name': Cron('0 0 1 1 *', { name: 'job' }),
  Interval: Interval(2 ** 30),
  Timeout: Timeout('later', 2 ** 30),
  OnEvent: OnEvent('event'),
  'another OnEvent': OnEvent(['a', 'b'], { async: true }),
  SetMetadata: SetMetadata('roles', ['admin']),
  UseGuards: UseGuards(class Guard {}),
  UsePipes: UsePipes(class Pipe {}),
};
type Decorator = keyof typeof others | 'Locked' | 'Locked again';

const method: fc.Arbitrary<Method> = fc.record({
  name: fc.constantFrom<string | symbol>('run', 'exportInvoices', '$', Symbol('run')),
  kind: fc.constantFrom('async', 'promise', 'value', 'generator', 'observable', 'throws', 'rejects'),
  place: fc.constantFrom('own', 'inherited', 'overridden'),
  decorators: fc
    .tuple(
      fc.subarray(Object.keys(others) as (keyof typeof others)[]),
      fc.constantFrom<Decorator[]>(['Locked'], ['Locked', 'Locked again']),
    )
    .chain(([some, locked]) => {
      const all = [...some, ...locked];
      return fc.shuffledSubarray(all, { minLength: all.length });
    }),
  parameters: fc.nat(3),
  args: fc.array(anyValue, { maxLength: 4 }),
  result: anyValue,
});

interface Call {
  self: unknown;
  args: unknown[];
  locks: (string | undefined)[];
}

type Instance = Record<string | symbol, (...args: unknown[]) => unknown>;

const keysOf = ({ decorators }: Method): string[] =>
  decorators.flatMap((one) =>
    one === 'Locked' ? ['outer or only'] : one === 'Locked again' ? ['again'] : [],
  );

/**
 * Makes the class of one case, with or without `@Locked()`. `calls` records the calls of the
 * innermost method.
 */
function makeClass(made: Method, locked: boolean): { type: Type<Instance>; calls: Call[] } {
  const calls: Call[] = [];
  class Base {}
  class Job extends Base {}
  const on = made.place === 'own' ? Job : Base;

  const body = bodyOf(made, calls);
  Object.defineProperty(body, 'name', { value: String(made.name), configurable: true });
  Object.defineProperty(body, 'length', { value: made.parameters, configurable: true });
  const descriptor = { value: body, writable: true, enumerable: false, configurable: true };
  const decorators = made.decorators.flatMap((one): MethodDecorator[] => {
    if (one === 'Locked') return locked ? [Locked('outer or only') as MethodDecorator] : [];
    if (one === 'Locked again') return locked ? [Locked({ key: () => 'again' }) as MethodDecorator] : [];
    return [others[one]];
  });
  Object.defineProperty(
    on.prototype,
    made.name,
    Reflect.decorate(decorators, on.prototype, made.name, descriptor),
  );
  if (made.place === 'overridden') {
    const inherited = Object.getOwnPropertyDescriptor(Base.prototype, made.name)?.value as Function;
    const override = function (this: unknown, ...args: unknown[]): unknown {
      return Reflect.apply(inherited, this, args);
    };
    Object.defineProperty(Job.prototype, made.name, { ...descriptor, value: override });
  }
  Injectable()(Job);
  return { type: Job as unknown as Type<Instance>, calls };
}

function bodyOf({ kind, result }: Method, calls: Call[]): (...args: unknown[]) => unknown {
  return function (this: unknown, ...args: unknown[]): unknown {
    calls.push({ self: this, args, locks: [LockContext.current()?.key] });
    switch (kind) {
      case 'async':
        return (async () => result)();
      case 'promise':
        return Promise.resolve(result);
      case 'value':
        return result;
      case 'generator':
        return (async function* () {
          yield result;
          yield 'second';
        })();
      case 'observable':
        return from([result, 'second']);
      case 'throws':
        throw result;
      default:
        return Promise.reject(result);
    }
  };
}

/**
 * Runs the call and resolves to the value or the error, or to all values if the call returns a
 * stream.
 */
async function outcomeOf(call: () => unknown): Promise<{ threw: boolean; values: unknown[] }> {
  try {
    const given = await call();
    if (isObservable(given)) return { threw: false, values: await lastValueFrom(given.pipe(toArray())) };
    if (typeof given !== 'object' || given === null || !(Symbol.asyncIterator in given))
      return { threw: false, values: [given] };
    const values: unknown[] = [];
    for await (const value of given as AsyncIterable<unknown>) values.push(value);
    return { threw: false, values };
  } catch (error) {
    return { threw: true, values: [error] };
  }
}

function metadataOf(type: Type<Instance>, name: string | symbol): Map<unknown, unknown> {
  const found = type.prototype[name] as object;
  const keys = Reflect.getMetadataKeys(found).filter((key) => typeof key === 'string');
  return new Map(keys.toSorted().map((key) => [key, Reflect.getMetadata(key, found)]));
}

describe('a method under @Locked() with any other decorators, in any order and place', () => {
  it('B62 a locked method keeps its metadata, name, length, this, arguments and results', async () => {
    await fc.assert(
      fc.asyncProperty(method, async (made) => {
        const plain = makeClass(made, false);
        const { type, calls } = makeClass(made, true);
        const store = new RecordingStore();
        const app = await start({ imports: [LockModule.forRoot({ store })], providers: [type] });
        const job = app.get(type);

        expect(metadataOf(type, made.name)).toEqual(metadataOf(plain.type, made.name));
        for (const property of ['name', 'length'] as const)
          expect(job[made.name]![property]).toBe(plain.type.prototype[made.name][property]);

        const expected = await outcomeOf(() => new plain.type()[made.name]!(...made.args));
        const outcome = await outcomeOf(() => job[made.name]!(...made.args));
        expect(outcome.threw).toBe(expected.threw);
        expect(outcome.values).toHaveLength(expected.values.length);
        outcome.values.forEach((value, i) => expect(value).toBe(expected.values[i]));

        const [call] = calls as [Call];
        expect(calls).toHaveLength(1);
        expect(call.self).toBe(job);
        expect(call.args).toHaveLength(made.args.length);
        call.args.forEach((arg, i) => expect(arg).toBe(made.args[i]));
        expect(call.locks).toEqual([keysOf(made).at(-1)]);

        const keys = keysOf(made);
        expect(store.calls.filter((one) => one.startsWith('acquire'))).toEqual(
          keys.map((key) => `acquire ${key}`),
        );
        // The stop waits for the release of the lock of a stream that has just ended.
        await stop(app);
        for (const key of keys) expect(await store.holds(key)).toBe(false);
      }),
      seeded(200),
    );
  });

  it('B63 a busy method is skipped if the scheduler calls it, and throws if the application calls it', async () => {
    await fc.assert(
      fc.asyncProperty(method, async (made) => {
        const { type, calls } = makeClass(made, true);
        const store = new RecordingStore();
        const app = await start({ imports: [LockModule.forRoot({ store })], providers: [type] });
        const held = await Promise.all(keysOf(made).map((key) => store.holdElsewhere(key)));
        const { threw, values } = await outcomeOf(() => app.get(type)[made.name]!(...made.args));

        const scheduled = made.decorators.some((one) => /^(Cron|Interval|Timeout)/.test(one));
        expect(calls).toEqual([]);
        expect(threw).toBe(!scheduled);
        expect(values).toEqual([scheduled ? undefined : expect.any(LockNotAcquiredError)]);
        await Promise.all(held.map((one) => one.release()));
        await stop(app);
      }),
      seeded(60),
    );
  });
});
