import { describe, expect, it } from '@jest/globals';
import { isServerAnswer, storeFailure } from '../../../lib/stores/typeorm/store-failure.js';

describe('What a server says when it cannot serve', () => {
  it.each([
    ['a Galera node without quorum', { errno: 1047, code: 'ER_UNKNOWN_COM_ERROR', sqlState: '08S01' }],
    ['PostgreSQL that refuses connections', { code: '08004', severity: 'FATAL' }],
  ])('%s is transient, and its connection no good any more', (_, properties) => {
    const error = Object.assign(new Error('not now'), properties);
    expect(storeFailure(error, 'acquire "key"', 'the database')).toMatchObject({ transient: true });
    expect(isServerAnswer(error)).toBe(false);
  });

  it('a statement that it does not understand is not', () => {
    const error = Object.assign(new Error('syntax'), { errno: 1064, sqlState: '42000' });
    expect(storeFailure(error, 'acquire "key"', 'the database')).toMatchObject({ transient: false });
    expect(isServerAnswer(error)).toBe(true);
  });
});
