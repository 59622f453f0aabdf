import { describe, expect, it } from '@jest/globals';
import { CollisionError, isServerAnswer, storeFailure } from '../../../lib/stores/sql/store-failure.js';

describe('failures of SQL servers', () => {
  it.each([
    ['a Galera node without quorum', { errno: 1047, code: 'ER_UNKNOWN_COM_ERROR', sqlState: '08S01' }],
    ['PostgreSQL that refuses connections', { code: '08004', severity: 'FATAL' }],
  ])('B27 the error of %s is transient, and its connection is not used again', (_, properties) => {
    const error = Object.assign(new Error('not now'), properties);
    expect(storeFailure(error, 'acquire "key"', 'the database')).toMatchObject({ transient: true });
    expect(isServerAnswer(error)).toBe(false);
  });

  it('B27 the error of a wrong statement is permanent, and the connection stays in the pool', () => {
    const error = Object.assign(new Error('syntax'), { errno: 1064, sqlState: '42000' });
    expect(storeFailure(error, 'acquire "key"', 'the database')).toMatchObject({ transient: false });
    expect(isServerAnswer(error)).toBe(true);
  });

  const failing = (message: string, properties: object) => Object.assign(new Error(message), properties);
  const mysql = (errno: number, message: string, sqlState = 'HY000') => failing(message, { errno, sqlState });
  const postgres = (code: string, message: string, severity = 'ERROR') =>
    failing(message, { code, severity });

  it.each([
    postgres('25006', 'cannot execute UPDATE in a read-only transaction'),
    postgres('57P01', 'terminating connection due to administrator command', 'FATAL'),
    postgres('57P03', 'the database system is in recovery mode', 'FATAL'),
    postgres('25P04', 'terminating connection due to transaction timeout', 'FATAL'),
    postgres('40003', 'statement completion unknown'),
    mysql(1290, 'The MySQL server is running with the --super-read-only option so it cannot execute this'),
    mysql(1290, 'The MariaDB server is running with the --read-only option so it cannot execute this'),
    mysql(1792, 'Cannot execute statement in a READ ONLY transaction.', '25006'),
    mysql(1836, 'Running in read-only mode'),
    mysql(1874, 'InnoDB is in read only mode.'),
    mysql(3100, "Error on observer while running replication hook 'before_commit'."),
    mysql(1180, "Got error 6 'No such device or address' during COMMIT"),
    mysql(1047, 'WSREP has not yet prepared node for application use', '08S01'),
    mysql(1053, 'Server shutdown in progress', '08S01'),
    mysql(1927, 'Connection was killed', '70100'),
    mysql(3032, 'The server is currently in offline mode'),
    mysql(3169, 'Session was killed'),
    mysql(4031, 'The client was disconnected by the server because of inactivity.'),
    mysql(9001, 'Max connect timeout reached while reaching hostgroup 0 after 10000ms'),
  ])('D1 a demoted, restarting or stopped server is a transient failure: %s', (error) => {
    expect(storeFailure(error, 'acquire "key"', 'the database')).toMatchObject({ transient: true });
    expect(isServerAnswer(error)).toBe(false);
  });

  it.each([
    mysql(3101, 'Plugin instructed the server to rollback the current transaction.', '40000'),
    mysql(1180, "Got error 149 - 'Lock deadlock; Retry transaction' during COMMIT"),
    mysql(1180, 'Got error 149 "Lock deadlock; Retry transaction" during COMMIT'),
    mysql(1213, 'Deadlock found when trying to get lock; try restarting transaction', '40001'),
  ])('D2 a write that loses against another member of the group is contention: %s', (error) => {
    expect(storeFailure(error, 'acquire "key"', 'the database')).toBeInstanceOf(CollisionError);
    expect(isServerAnswer(error)).toBe(true);
  });

  it.each([
    failing('Pool does Not have online node.', { code: 'POOL_NONEONLINE' }),
    failing('Pool does Not exist.', { code: 'POOL_NOEXIST' }),
    new Error('Pool is closed.'),
    new Error('No connections available.'),
    new Error('Cannot use a pool after calling end on the pool'),
    new Error('Driver not Connected'),
    new Error('Connection is not established with mysql database'),
  ])('R2 a pool that is closed or has no server is a transient failure: %s', (error) => {
    expect(storeFailure(error, 'acquire "key"', 'the database')).toMatchObject({ transient: true });
  });

  it.each([
    mysql(1290, 'The MySQL server is running with the --skip-grant-tables option so it cannot execute this'),
    mysql(1142, "INSERT command denied to user 'app'", '42000'),
    postgres('42501', 'permission denied for table locks'),
  ])('D1 a failure that no other connection can avoid is permanent: %s', (error) => {
    expect(storeFailure(error, 'acquire "key"', 'the database')).toMatchObject({ transient: false });
    expect(isServerAnswer(error)).toBe(true);
  });
});
