import { NoAnswerError } from './store-failure.js';

/** One timer for all the waits of an operation. What settles after it is ignored, also when it fails. */
export class TimeLimit {
  private readonly expired: Promise<never>;
  private timer?: NodeJS.Timeout;

  /** @param limit milliseconds from now */
  constructor(limit: number) {
    this.expired = new Promise((_, reject) => {
      this.timer = setTimeout(() => reject(new NoAnswerError(limit)), limit);
    });
  }

  /** @param giveBack gets what comes too late */
  async race<T>(work: Promise<T>, giveBack?: (late: T) => Promise<unknown>): Promise<T> {
    try {
      return await Promise.race([work, this.expired]);
    } catch (error) {
      if (giveBack) work.then(giveBack).catch(() => undefined); // the caller has the error that counts
      throw error;
    }
  }

  end(): void {
    clearTimeout(this.timer);
  }
}
