import { expect } from '@jest/globals';

/** Returns the error that a promise rejects with, and fails if it resolves. */
export async function errorOf(promise: Promise<unknown>): Promise<Error> {
  const [settled] = await Promise.allSettled([promise]);
  expect(settled?.status).toBe('rejected');
  return (settled as PromiseRejectedResult).reason as Error;
}
