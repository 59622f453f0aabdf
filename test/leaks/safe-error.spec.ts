import { describe, expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { LockStoreError } from '../../lib/lock.errors.js';
import { safeError, safeText } from '../../lib/safe-error.js';
import { asLockError } from '../../lib/engine/time-limit.js';
import { commitFailure, storeFailure as mongoFailure } from '../../lib/stores/mongodb/mongo-failure.js';
import { storeFailure, transactionFailure } from '../../lib/stores/sql/store-failure.js';
import { seeded } from '../fuzz/seeded.js';
import { ownersIn } from './shown-by.js';

const UUID = '1b4e28ba-2fa1-41d2-883f-0016d3cca427';

/**
 * Owner ids in any form: callers of a store may choose them, while the library's own ids are
 * UUIDs.
 */
const ids = fc.oneof(
  fc.uuid(),
  fc.string({ minLength: 8, maxLength: 80, unit: 'grapheme' }).filter((text) => /\S{4}/.test(text)),
  fc.stringMatching(/^[a-z]{3}-['"\\{}$.%]{2}[0-9]{6}$/),
);

/**
 * Texts in which drivers repeat the owner id of a statement: within other text, in JSON, as
 * bytes, cut off or doubled.
 */
const textsWith = (id: string) =>
  fc.oneof(
    fc.constantFrom(
      id,
      `Failing row contains (k, ${id}, 1).`,
      `Duplicate entry '${id}' for key 'owner'`,
      `not authorized on app to execute command { update: "locks", q: { owner: { $eq: ${JSON.stringify(id)} } } }`,
      `near 'x'${Buffer.from(id).toString('hex')}'' at line 1`,
      `bytes ${Buffer.from(id).toString('hex').toUpperCase()}`,
      `twice ${id}${id}`,
      JSON.stringify({ sql: `... ${id}`, nested: JSON.stringify(id) }),
    ),
    fc.string().map((text) => `${text} ${id} ${text}`),
  );

const errorsWith = (id: string) =>
  fc
    .record({
      message: textsWith(id),
      code: fc.oneof(fc.constantFrom<unknown>('23514', '23505', 1062, 13, 112, 11000), textsWith(id)),
      errno: fc.oneof(fc.integer(), textsWith(id)),
      name: fc.oneof(fc.constantFrom('MongoServerError', 'QueryFailedError', 'error'), textsWith(id)),
      text: textsWith(id),
    })
    .map(({ message, code, errno, name, text }) => {
      const inner = Object.assign(new Error(text), { sql: text, detail: text });
      const many = new AggregateError([inner, text, { owner: id }], message, { cause: inner });
      const error = Object.assign(
        new Error(message, { cause: many }),
        { code, errno, name, codeName: text, sqlMessage: text, sqlState: text, constraint: text },
        {
          query: text,
          parameters: [id, Buffer.from(id)],
          driverError: inner,
          where: text,
          internalQuery: text,
        },
        { errorResponse: { errmsg: text }, writeErrors: [{ op: { owner: id } }], result: { id } },
        { errors: [inner, many], [Symbol('errorLabels')]: new Set([text]), errorLabels: [text] },
      );
      Object.defineProperty(error, 'hidden', { value: text, enumerable: false });
      error.stack = `${name}: ${text}\n    at query (${text}:1:1)\n    at ${id} (file.js:1:1)`;
      return error;
    });

describe('D errors of drivers are rebuilt from fields that are known to be safe', () => {
  it('B86 no field of the rebuilt error shows the owner id of the operation', () => {
    const failures = ids.chain((id) => errorsWith(id).map((error) => ({ id, error })));
    fc.assert(
      fc.property(failures, ({ id, error }) => {
        for (const left of [
          storeFailure(error, 'release "key"', 'the database', [id]),
          mongoFailure(error, 'release "key"', 'the database', [id]),
          asLockError(error, { operation: 'release', key: 'key', owners: [id] }),
          safeError(error, [id]),
        ])
          expect(ownersIn(left, [id])).toEqual([]);
      }),
      seeded(50),
    );
  });

  it('B86 owner ids of other holders are hidden too, because every UUID is hidden', () => {
    fc.assert(
      fc.property(errorsWith(UUID), (error) => {
        for (const left of [
          storeFailure(error, 'purge', 'the database'),
          mongoFailure(error, 'purge', 'the database'),
          transactionFailure(error, 'commit', 'the database'),
          commitFailure(error, 'the database'),
        ])
          expect(ownersIn(left, [UUID])).toEqual([]);
      }),
      seeded(40),
    );
  });

  it('B86 the beginning of an owner id that the text cuts off is hidden too', () => {
    const id = 'worker-capability-0123456789';
    expect(safeText(`Failing row contains (${id.slice(0, 20)}...`, [id])).toBe(
      'Failing row contains ([hidden]...',
    );
  });

  it('D a rebuilt error keeps its name, message, codes, labels, address and stack', () => {
    class MongoServerError extends Error {
      override readonly name = 'MongoServerError';
      readonly errorLabels = ['RetryableWriteError'];
      constructor() {
        super(`Plan executor error :: caused by :: no such owner ${UUID}`, {
          cause: new Error('the link broke'),
        });
        Object.assign(this, {
          code: 11600,
          codeName: 'InterruptedAtShutdown',
          address: '127.0.0.1',
          port: 27017,
        });
      }
    }
    const error = new MongoServerError();
    const failure = mongoFailure(error, 'renew "key"', 'MongoDB at db:27017', [UUID]);
    expect(failure.message).toBe(
      'Could not renew "key": MongoDB at db:27017 cannot be reached, or the connection broke: Plan executor error :: caused by :: no such owner [hidden] (InterruptedAtShutdown).',
    );
    const cause = failure.cause as Error;
    expect(cause).toMatchObject({
      name: 'MongoServerError',
      message: 'Plan executor error :: caused by :: no such owner [hidden]',
      code: 11600,
      codeName: 'InterruptedAtShutdown',
      errorLabels: ['RetryableWriteError'],
      address: '127.0.0.1',
      port: 27017,
      cause: { message: 'the link broke' },
    });
    expect(cause.stack).toMatch(
      /^MongoServerError: Plan executor error.*\[hidden]\n\s+at .*safe-error\.spec/,
    );
  });

  it('D an error that bundles several failed connections still lists each of them', () => {
    const refused = (port: number) =>
      Object.assign(new Error(`connect ECONNREFUSED ::1:${port}`), { code: 'ECONNREFUSED', port });
    const error = Object.assign(new AggregateError([refused(1), refused(2)]), { code: 'ECONNREFUSED' });
    expect(storeFailure(error, 'acquire "key"', 'the database').cause).toMatchObject({
      name: 'AggregateError',
      errors: [{ port: 1 }, { port: 2 }],
    });
  });

  it('D values in the messages of MySQL are hidden, and the names of columns and keys are kept', () => {
    expect(safeText("Incorrect string value: '\\xF0\\x9F' for column `app`.`locks`.`owner` at row 1")).toBe(
      "Incorrect string value: '…' for column `app`.`locks`.`owner` at row 1",
    );
    expect(safeText("Duplicate entry 'it's' for key 'locks.owner'")).toBe(
      "Duplicate entry '…' for key 'locks.owner'",
    );
  });

  it('D passwords and connection strings are hidden', () => {
    const url = 'postgres://app:s3cret@db:5432/app';
    const error = Object.assign(new TypeError(`Invalid URL ${url}`), { code: 'ERR_INVALID_URL', input: url });
    const failure = storeFailure(error, 'open the lock store', 'the database');
    expect(ownersIn(failure, ['s3cret'])).toEqual([]);
    expect(safeText('mongodb://a:s3:c/r@t@h1,h2/x')).toBe('mongodb://…@h1,h2/x');
    expect(safeText('{ password: "s3cret" } password=s3cret;')).not.toContain('s3cret');
    expect(safeText("Access denied for user 'app'@'db' (using password: YES)")).toContain(
      '(using password: YES)',
    );
  });

  it('D errors of the library and thrown values that are not errors stay unchanged', () => {
    const ours = new LockStoreError('gone');
    expect(safeError(ours)).toBe(ours);
    expect(safeError(`a text with ${UUID}`)).toBe('a text with [hidden]');
    expect(safeError(undefined)).toBe(undefined);
    expect(safeError(7)).toBe(7);
  });

  it('D an error that is its own cause can be rebuilt', () => {
    const error = new Error('round');
    error.cause = error;
    expect(safeError(error)).toMatchObject({ message: 'round', cause: { message: 'round' } });
  });
});
