/** Knows when a driver's connection ends: by what the driver says first, or by its socket. */
export class ConnectionEnd {
  #reason = 'the server or the network closed it';
  #over = false;
  #listener: ((reason: string) => void) | undefined;

  /** The driver's `error` event, without a listener for which the process would end. */
  readonly failed = (error: Error): void => {
    this.#reason = error.message;
    this.closed();
  };

  readonly closed = (): void => {
    this.#over = true;
    this.#listener?.(this.#reason);
  };

  /** Calls back when it ends, or now if it has; more than once, maybe. */
  readonly onEnd = (listener: (reason: string) => void): void => {
    this.#listener = listener;
    if (this.#over) listener(this.#reason);
  };
}
