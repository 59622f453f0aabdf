import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import * as fc from 'fast-check';
import { ControlledSenders, OwnFailure } from '../stores/batching/controlled-senders.js';
import { seeded } from './seeded.js';

/**
 * One step of a case: requests arrive, a statement succeeds or fails, or milliseconds pass.
 */
const step = fc.oneof(
  fc.record({
    send: fc.array(fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'), { minLength: 1, maxLength: 12 }),
  }),
  fc.record({ end: fc.nat(), how: fc.constantFrom('succeed', 'fail', 'leave some open', 'leave all open') }),
  fc.record({ pass: fc.constantFrom(1, 30, 60, 400) }),
);
const limits = fc.record({
  alone: fc.integer({ min: 1, max: 4 }),
  smallest: fc.integer({ min: 2, max: 5 }),
  connections: fc.integer({ min: 1, max: 5 }),
  gathers: fc.boolean(),
});

beforeEach(() => void jest.useFakeTimers());
afterEach(() => void jest.useRealTimers());

describe('batched requests in any order', () => {
  it('B93 each request gets the outcome of its own key, and no statement contains a key twice', async () => {
    await fc.assert(
      fc.asyncProperty(limits, fc.array(step, { maxLength: 40 }), async (chosen, steps) => {
        jest.clearAllTimers(); // A case that failed before may have left timers.
        const senders = new ControlledSenders(chosen);
        const open = new Set<number>();
        let [seen, count] = [0, 0];
        const look = (): void => {
          for (; seen < senders.sent.length; seen++) {
            open.add(seen);
            const { keys, kind } = senders.statement(seen);
            expect(keys).toEqual([...new Set(keys)].toSorted());
            expect(keys.length > 1).toBe(kind === 'many');
          }
        };
        const end = async (place: number, how: string): Promise<void> => {
          open.delete(place);
          const statement = senders.statement(place);
          const results = statement.names.map((name) => `result of ${name}`);
          if (how === 'fail') await statement.fail(new Error('broke'));
          else if (how === 'succeed' || statement.kind !== 'many') await statement.answer(results);
          else if (how === 'leave all open') await statement.answer(undefined);
          else await statement.answer(results.map((result, i) => (i % 2 === 0 ? undefined : result)));
        };
        for (const next of steps) {
          if ('send' in next) senders.send(...next.send.map((key) => `${key}#${count++}`));
          else if ('pass' in next) await jest.advanceTimersByTimeAsync(next.pass);
          else if (open.size > 0) await end([...open][next.end % open.size] ?? 0, next.how);
          look();
        }
        for (let rounds = 0; senders.outcomes.size < count && rounds < 2_000; rounds++) {
          for (const place of open) await end(place, 'succeed');
          await jest.advanceTimersByTimeAsync(1);
          look();
        }
        expect(senders.outcomes.size).toBe(count);
        for (const [name, outcome] of senders.outcomes)
          if (outcome instanceof OwnFailure) expect(outcome.request).toBe(name);
          else if (!(outcome instanceof Error)) expect(outcome).toBe(`result of ${name}`);
        await jest.advanceTimersByTimeAsync(100);
        expect(jest.getTimerCount()).toBe(0);
      }),
      seeded(300),
    );
  });
});
