/** Milliseconds that an operation may take if its caller sets no limit. */
export const OPERATION_LIMIT = 10_000;

/**
 * The database did not answer within the limit of the operation, so the outcome is unknown.
 */
export class NoAnswerError extends Error {
  constructor(readonly limit: number) {
    super(`no answer within ${Math.round(limit)} ms`);
  }
}

/**
 * One timer for all the waits of an operation. Once the timer has expired, results and errors
 * of the operation are ignored.
 */
export class TimeLimit {
  private readonly expired: Promise<never>;
  private timer?: NodeJS.Timeout;

  /** @param limit milliseconds from now */
  constructor(limit: number) {
    this.expired = new Promise((_, reject) => {
      this.timer = setTimeout(() => reject(new NoAnswerError(limit)), limit);
    });
  }

  /**
   * Resolves to the result of the work, or rejects when the limit expires.
   *
   * @param giveBack receives a result that comes too late
   */
  async race<T>(work: Promise<T>, giveBack?: (late: T) => Promise<unknown>): Promise<T> {
    try {
      return await Promise.race([work, this.expired]);
    } catch (error) {
      // the caller already has an error
      if (giveBack) work.then(giveBack).catch(() => undefined);
      throw error;
    }
  }

  end(): void {
    clearTimeout(this.timer);
  }
}

/**
 * Waits for one step of background work, for which no caller sets a limit.
 *
 * @param limit milliseconds
 * @param giveBack receives a result that comes too late
 */
export async function inTime<T>(
  work: Promise<T>,
  limit = OPERATION_LIMIT,
  giveBack?: (late: T) => Promise<unknown>,
): Promise<T> {
  const timeLimit = new TimeLimit(limit);
  try {
    return await timeLimit.race(work, giveBack);
  } finally {
    timeLimit.end();
  }
}
