import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { LARGEST_BATCH } from '../../../lib/stores/shared/batcher.js';
import { NoAnswerError } from '../../../lib/stores/shared/operation-limit.js';
import { ControlledSenders, OwnFailure } from './controlled-senders.js';

const keysOf = (count: number, of = 'key'): string[] =>
  Array.from({ length: count }, (_, i) => `${of}-${String(i).padStart(5, '0')}`);

beforeEach(() => void jest.useFakeTimers());
afterEach(() => {
  const left = jest.getTimerCount();
  jest.useRealTimers();
  expect(left).toBe(0);
});

describe('the requests that a statement carries', () => {
  it('B93 a request is sent alone and at once if no other request is under way', async () => {
    const senders = new ControlledSenders();
    senders.send('a');
    expect(senders.sent).toEqual([expect.objectContaining({ names: ['a'], kind: 'one', timeout: 10_000 })]);
    await senders.statement(0).succeed();
    senders.send('b');
    expect(senders.names).toEqual([['a'], ['b']]);
    await senders.statement(1).succeed();
    expect([...senders.outcomes]).toEqual([
      ['a', 'result of a'],
      ['b', 'result of b'],
    ]);
  });

  it('B93 requests that arrive while a statement is under way share the next statement, sorted by key', async () => {
    const senders = new ControlledSenders();
    senders.send('m', 'z', 'b', 'é', 'B', 'a');
    expect(senders.names).toEqual([['m']]);
    await senders.statement(0).succeed();
    expect(senders.names).toEqual([['m'], ['B', 'a', 'b', 'z', 'é']]);
    await senders.statement(1).succeed();
    expect(senders.outcomes).toEqual(
      new Map(['m', 'B', 'a', 'b', 'z', 'é'].map((name) => [name, `result of ${name}`])),
    );
  });

  it('B93 a statement carries one request for each key, and later requests for the key follow in their order', async () => {
    const senders = new ControlledSenders();
    senders.send('x', 'k#1', 'b', 'k#2', 'a', 'k#3');
    await senders.statement(0).succeed();
    expect(senders.statement(1).names).toEqual(['a', 'b', 'k#1']);
    senders.send('c', 'k#4');
    await senders.statement(1).succeed();
    expect(senders.statement(2).names).toEqual(['c', 'k#2']);
    await senders.statement(2).succeed();
    await senders.statement(3).succeed();
    await senders.statement(4).succeed();
    expect(senders.names.slice(3)).toEqual([['k#3'], ['k#4']]);
  });

  it('B93 a request does not overtake an earlier request for the same key that is still under way', async () => {
    const senders = new ControlledSenders({ alone: 3 });
    senders.send('a', 'b', 'k', 'k#2', 'c', 'd');
    expect(senders.names).toEqual([['a'], ['b'], ['k']]);
    await senders.statement(0).succeed();
    expect(senders.statement(3).names).toEqual(['c', 'd']);
    await senders.statement(3).succeed();
    await senders.statement(1).succeed();
    expect(senders.sent).toHaveLength(4);
    await senders.statement(2).succeed();
    expect(senders.names.at(-1)).toEqual(['k#2']);
    await senders.statement(4).succeed();
    senders.send('k#3');
    expect(senders.names.at(-1)).toEqual(['k#3']);
    await senders.statement(5).succeed();
    expect(senders.outcomes.size).toBe(7);
  });

  it('B93 a second request for a key waits for the first, and lets requests for other keys pass', async () => {
    const senders = new ControlledSenders({ alone: 3 });
    senders.send('k', 'k#2', 'a');
    expect(senders.names).toEqual([['k'], ['a']]);
    await senders.statement(0).succeed();
    expect(senders.names.at(-1)).toEqual(['k#2']);
    await senders.statement(1).succeed();
    await senders.statement(2).succeed();
    expect(senders.outcomes.size).toBe(3);
  });

  it('B93 a statement carries at most 500 requests, so that a longer queue takes several statements', async () => {
    const senders = new ControlledSenders();
    senders.send('first', ...keysOf(2 * LARGEST_BATCH + 1));
    for (let sent = 0; sent < senders.sent.length; sent++) await senders.statement(sent).succeed();
    expect(LARGEST_BATCH).toBe(500);
    expect(senders.names.map(({ length }) => length)).toEqual([1, 500, 500, 1]);
    expect(senders.outcomes.size).toBe(1_002);
  });

  it('B93 requests are sent alone while fewer of them wait than the smallest batch needs', async () => {
    const senders = new ControlledSenders({ alone: 3, smallest: 4 });
    senders.send(...keysOf(6));
    expect(senders.names.map(({ length }) => length)).toEqual([1, 1, 1]);
    await senders.statement(0).succeed();
    // Only three requests wait, which are too few for a batch, so the first of them is sent
    // alone.
    expect(senders.names.at(-1)).toEqual(['key-00003']);
    senders.send(...keysOf(2, 'more'));
    await senders.statement(1).succeed();
    expect(senders.names.at(-1)).toEqual(['key-00004', 'key-00005', 'more-00000', 'more-00001']);
    senders.send('late');
    await senders.statement(2).succeed();
    await senders.statement(3).succeed();
    // The late request is not sent yet, because no request may run beside a batch that is
    // under way.
    expect(senders.sent).toHaveLength(5);
    await senders.statement(4).succeed();
    expect(senders.names.at(-1)).toEqual(['late']);
    await senders.statement(5).succeed();
  });

  it('B93 under load, requests of one turn of the event loop share a statement until few of them wait', async () => {
    const senders = new ControlledSenders({ alone: 3, smallest: 3 });
    senders.send(...keysOf(6));
    await senders.statement(0).succeed();
    for (const place of [1, 2, 3]) await senders.statement(place).succeed();
    senders.send(...keysOf(9, 'more'));
    expect(senders.sent).toHaveLength(4);
    await jest.advanceTimersByTimeAsync(0);
    expect(senders.names.slice(3)).toEqual([keysOf(6).slice(3), keysOf(9, 'more')]);
    await senders.statement(4).succeed();
    senders.send('a', 'b');
    await jest.advanceTimersByTimeAsync(0);
    expect(senders.names.at(-1)).toEqual(['a']);
    await senders.statement(5).succeed();
    // The load has ended, so these requests do not wait for a shared statement.
    senders.send('c', 'd', 'e');
    expect(senders.names.slice(6)).toEqual([['b'], ['c'], ['d']]);
    for (const place of [6, 7, 8, 9]) await senders.statement(place).succeed();
    expect(senders.outcomes.size).toBe(20);
  });

  it('B93 with a driver that blocks, a single caller waits for no turn of the event loop', async () => {
    const senders = new ControlledSenders({ gathers: true });
    const first = senders.batcher.send({ key: 'a', name: 'a', timeout: 1_000 });
    const sentNext = first.then(() => {
      senders.send('b');
      return [...senders.names];
    });
    await senders.statement(0).succeed();
    expect(await sentNext).toEqual([['a'], ['b']]);
    await senders.statement(1).succeed();
  });

  it('B93 requests of one turn of the event loop share a statement when the driver blocks', async () => {
    const senders = new ControlledSenders({ gathers: true });
    const first = senders.batcher.send({ key: 'a', name: 'a', timeout: 1_000 });
    const next = first.then(() => senders.send('d'));
    senders.send('c', 'b');
    await senders.statement(0).succeed();
    await next;
    expect(senders.names).toEqual([['a'], ['b', 'c', 'd']]);
    await senders.statement(1).succeed();
  });
});

describe('the results of the requests', () => {
  it('B93 a failed batch rejects each request with its own error, and the next statement is sent', async () => {
    const senders = new ControlledSenders();
    const broken = new Error('the connection broke');
    senders.send('x', 'b', 'a', 'a#2');
    await senders.statement(0).succeed();
    await senders.statement(1).fail(broken);
    expect(senders.outcomes.get('a')).toEqual(new OwnFailure('a', broken));
    expect(senders.outcomes.get('b')).toEqual(new OwnFailure('b', broken));
    expect(senders.outcomes.get('a')).not.toBe(senders.outcomes.get('b'));
    expect(senders.outcomes.has('a#2')).toBe(false);
    // The batcher never repeats a request that has failed with its batch.
    expect(senders.names.slice(2)).toEqual([['a#2']]);
    await senders.statement(2).succeed();
    expect(senders.outcomes.get('a#2')).toBe('result of a#2');
  });

  it('B93 the failure of a request that was sent alone affects no other request', async () => {
    const senders = new ControlledSenders();
    const refused = new Error('refused');
    senders.send('x', 'a', 'b');
    await senders.statement(0).fail(refused);
    await senders.statement(1).succeed();
    expect(senders.outcomes).toEqual(
      new Map<string, unknown>([
        ['x', refused],
        ['a', 'result of a'],
        ['b', 'result of b'],
      ]),
    );
  });

  it('B93 a request without a result from its batch is repeated alone', async () => {
    const senders = new ControlledSenders();
    senders.send('x', 'a', 'b', 'c');
    await senders.statement(0).succeed();
    await senders.statement(1).answer(['A', undefined, 'C']);
    expect(senders.outcomes).toEqual(new Map([...senders.outcomes, ['a', 'A'], ['c', 'C']]));
    expect(senders.outcomes.has('b')).toBe(false);
    expect(senders.statement(2)).toMatchObject({ names: ['b'], kind: 'again' });
    await senders.statement(2).answer(['B']);
    expect(senders.outcomes.get('b')).toBe('B');
  });

  it('B93 a result that is known before the statement ends is reported at once, and does not change later', async () => {
    const senders = new ControlledSenders();
    senders.send('x', 'a', 'b', 'c');
    await senders.statement(0).succeed();
    await senders.statement(1).succeedFor('b');
    expect(senders.outcomes.get('b')).toBe('result of b');
    await senders.statement(1).answer(undefined);
    expect(senders.names.slice(2)).toEqual([['a'], ['c']]);
    await senders.statement(2).succeed();
    await senders.statement(3).succeed();
    expect(senders.outcomes.size).toBe(4);
  });

  it('B93 after a batch without results, each request is repeated alone and fails alone', async () => {
    const senders = new ControlledSenders({ connections: 2 });
    senders.send('x', 'a', 'b', 'c');
    await senders.statement(0).succeed();
    await senders.statement(1).answer(undefined);
    expect(senders.sent.slice(2).map(({ kind, names }) => [kind, ...names])).toEqual([
      ['again', 'a'],
      ['again', 'b'],
    ]);
    const bad = new Error('a label that cannot be stored');
    await senders.statement(2).fail(bad);
    expect(senders.outcomes.get('a')).toBe(bad);
    expect(senders.statement(4)).toMatchObject({ names: ['c'], kind: 'again' });
    await senders.statement(3).succeed();
    await senders.statement(4).succeed();
    expect([senders.outcomes.get('b'), senders.outcomes.get('c')]).toEqual(['result of b', 'result of c']);
  });

  it('B93 repetitions delay no other request, and use no more connections than the batcher is allowed', async () => {
    const senders = new ControlledSenders({ connections: 2 });
    senders.send('x', ...keysOf(4, 'a'));
    await senders.statement(0).succeed();
    await senders.statement(1).answer(undefined);
    senders.send(...keysOf(4, 'b'));
    // The next batch is sent at once, although two repetitions of single requests are under
    // way.
    await jest.advanceTimersByTimeAsync(0);
    expect(senders.names.at(-1)).toEqual(keysOf(4, 'b'));
    await senders.statement(-1).answer(undefined);
    const repetitions = senders.sent.filter(({ kind }) => kind === 'again');
    expect(repetitions.flatMap((statement) => statement.names)).toEqual(keysOf(2, 'a'));
    for (let sent = 0; sent < senders.sent.length; sent++) await senders.statement(sent).succeed();
    expect(senders.outcomes.size).toBe(9);
    const all = senders.sent.filter(({ kind }) => kind === 'again');
    expect(all.flatMap((statement) => statement.names)).toEqual([...keysOf(4, 'a'), ...keysOf(4, 'b')]);
  });
});

describe('time limits of batches', () => {
  it('B93 a batch gets the largest time limit of its requests, minus the time that they have waited', async () => {
    const senders = new ControlledSenders();
    senders.send('x');
    senders.sendWithin(100, 'a');
    senders.sendWithin(700, 'b');
    senders.sendWithin(300, 'c');
    await jest.advanceTimersByTimeAsync(30);
    await senders.statement(0).succeed();
    expect(senders.statement(1)).toMatchObject({ names: ['a', 'b', 'c'], timeout: 670 });
    await senders.statement(1).answer([undefined, 'B', 'C']);
    expect(senders.statement(2)).toMatchObject({ names: ['a'], timeout: 70 });
    await senders.statement(2).succeed();
  });

  it('B93 a request whose time limit passes in the queue is never sent, and no other request fails', async () => {
    const senders = new ControlledSenders({ connections: 1 });
    senders.send('x');
    senders.sendWithin(40, 'a');
    senders.sendWithin(60, 'b');
    senders.sendWithin(40, 'c');
    await jest.advanceTimersByTimeAsync(41);
    await senders.statement(0).succeed();
    expect(senders.names).toEqual([['x'], ['b']]);
    expect(senders.outcomes.get('a')).toEqual(new OwnFailure('a', new NoAnswerError(40)));
    expect(senders.outcomes.get('c')).toEqual(new OwnFailure('c', new NoAnswerError(40)));
    await senders.statement(1).succeed();
    expect(senders.outcomes.get('b')).toBe('result of b');
    senders.send('d'); // No statement is under way, so this request is sent at once.
    await jest.advanceTimersByTimeAsync(0);
    await senders.statement(2).succeed();
  });

  it('B93 a request is not repeated after its time limit has passed', async () => {
    const senders = new ControlledSenders({ connections: 1 });
    senders.send('x');
    senders.sendWithin(5_000, 'a');
    senders.sendWithin(45, 'b');
    await senders.statement(0).succeed();
    await senders.statement(1).answer(undefined);
    expect(senders.statement(2).names).toEqual(['a']);
    await jest.advanceTimersByTimeAsync(60);
    await senders.statement(2).succeed();
    expect(senders.sent).toHaveLength(3);
    expect(senders.outcomes.get('b')).toEqual(new OwnFailure('b', new NoAnswerError(45)));
  });
});

describe('slow statements in batches', () => {
  it('B93 slow repetitions do not delay other requests, even if there are many repetitions', async () => {
    const senders = new ControlledSenders({ connections: 2 });
    senders.send('x', ...keysOf(6));
    await senders.statement(0).succeed();
    await senders.statement(1).answer(undefined);
    for (const sent of [4, 6, 8]) {
      expect(senders.sent).toHaveLength(sent);
      await jest.advanceTimersByTimeAsync(50);
    }
    for (let place = 2; place < 8; place++) await senders.statement(place).succeed();
    expect(senders.outcomes.size).toBe(7);
  });

  it('B93 a statement that has taken 50 ms no longer delays the next statement', async () => {
    const senders = new ControlledSenders();
    senders.send('slow', 'a', 'b');
    await jest.advanceTimersByTimeAsync(49);
    expect(senders.sent).toHaveLength(1);
    await jest.advanceTimersByTimeAsync(1);
    expect(senders.names).toEqual([['slow'], ['a', 'b']]);
    await senders.statement(1).succeed();
    senders.send('c'); // The request is sent, although the slow statement is still under way.
    await jest.advanceTimersByTimeAsync(0);
    expect(senders.names.at(-1)).toEqual(['c']);
    await senders.statement(2).succeed();
    await senders.statement(0).succeed();
    senders.send('d', 'e');
    // Only one request is sent: the end of the slow statement does not let two statements run
    // at a time.
    expect(senders.names.at(-1)).toEqual(['d']);
    await senders.statement(3).succeed();
    await senders.statement(4).succeed();
    expect(senders.outcomes.size).toBe(6);
  });

  it('B93 one request for the key of a slow statement is sent, and further requests for the key wait for it', async () => {
    const senders = new ControlledSenders();
    senders.send('k', 'k#2');
    await jest.advanceTimersByTimeAsync(50);
    expect(senders.names).toEqual([['k'], ['k#2']]);
    senders.send('k#3');
    // The end of the slow statement sends no request, because the second one for the key is
    // under way.
    await senders.statement(0).succeed();
    expect(senders.names).toEqual([['k'], ['k#2']]);
    await senders.statement(1).succeed();
    expect(senders.names.at(-1)).toEqual(['k#3']);
    await senders.statement(2).succeed();
  });

  it('B93 new requests for the keys of a slow batch share a statement while the slow batch is under way', async () => {
    const senders = new ControlledSenders();
    senders.send('x', 'a', 'b');
    await senders.statement(0).succeed();
    senders.send('b#2', 'a#2');
    await jest.advanceTimersByTimeAsync(50);
    expect(senders.names).toEqual([['x'], ['a', 'b'], ['a#2', 'b#2']]);
    await senders.statement(1).succeed();
    await senders.statement(2).succeed();
    expect(senders.outcomes.size).toBe(5);
  });

  it('B93 slow statements use no more connections than the batcher is allowed', async () => {
    const senders = new ControlledSenders({ connections: 3 });
    senders.send(...keysOf(10));
    await jest.advanceTimersByTimeAsync(50);
    senders.send('a', 'b');
    await jest.advanceTimersByTimeAsync(50);
    senders.send('c', 'd');
    await jest.advanceTimersByTimeAsync(2_000);
    expect(senders.names).toEqual([keysOf(10).slice(0, 1), keysOf(10).slice(1), ['a', 'b']]);
    await senders.statement(0).succeed();
    await jest.advanceTimersByTimeAsync(50);
    expect(senders.names.at(-1)).toEqual(['c', 'd']);
    for (const place of [1, 2, 3]) await senders.statement(place).succeed();
    expect(senders.outcomes.size).toBe(14);
  });

  it('B93 one slow statement does not delay the next statement, even in a pool of one connection', async () => {
    const senders = new ControlledSenders({ connections: 1 });
    senders.send('slow', 'a', 'b');
    await jest.advanceTimersByTimeAsync(50);
    expect(senders.names).toEqual([['slow'], ['a', 'b']]);
    await senders.statement(1).succeed();
    await senders.statement(0).succeed();
  });

  it('B93 a slow statement that fails affects no other request', async () => {
    const senders = new ControlledSenders();
    senders.send('x', 'a', 'b');
    await senders.statement(0).succeed();
    senders.send('c', 'd');
    await jest.advanceTimersByTimeAsync(100);
    await senders.statement(1).fail(new Error('broke'));
    await senders.statement(2).succeed();
    expect(senders.outcomes.get('a')).toBeInstanceOf(OwnFailure);
    expect(senders.outcomes.get('c')).toBe('result of c');
  });

  it('B93 no timer runs for a single request, or after the last request has been sent', async () => {
    const senders = new ControlledSenders();
    senders.send('a');
    expect(jest.getTimerCount()).toBe(0);
    senders.send('b');
    expect(jest.getTimerCount()).toBe(1);
    await senders.statement(0).succeed();
    expect(jest.getTimerCount()).toBe(0);
    await senders.statement(1).succeed();
  });
});
