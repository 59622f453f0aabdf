import { LockStoreError } from '../../lock.errors.js';

/**
 * Opens a store before its first use. It opens the store again after a failure, or when the
 * application has replaced its client. After the store was closed, it refuses.
 */
export class Opening<T> {
  private opening: Promise<T> | undefined;
  private closed = false;

  /** @param isCurrent whether what was opened can still be used */
  constructor(
    private readonly open: () => Promise<T>,
    private readonly isCurrent: (opened: T) => boolean = () => true,
  ) {}

  /** Opens it also after it was closed. */
  async start(): Promise<void> {
    this.closed = false;
    await this.get('open it');
  }

  /** Whether it was closed. */
  get ended(): boolean {
    return this.closed;
  }

  /**
   * @param doing what it is wanted for, such as `acquire "nightly-report"`
   * @throws LockStoreError once the store was closed
   */
  async get(doing: string): Promise<T> {
    if (this.closed) throw new LockStoreError(`Could not ${doing}: the lock store is closed.`);
    const opening = this.begin();
    const opened = await opening;
    if (this.closed || this.isCurrent(opened)) return opened;
    if (this.opening === opening) this.opening = undefined;
    return this.begin();
  }

  /** Ends its use, and gives what has to be closed now. */
  async end(): Promise<T | undefined> {
    this.closed = true;
    const opened = await this.opening?.catch(() => undefined); // who opened it has had that error
    this.opening = undefined;
    return opened;
  }

  private begin(): Promise<T> {
    this.opening ??= this.open().catch((error: unknown) => {
      this.opening = undefined; // the next operation tries again
      throw error;
    });
    return this.opening;
  }
}
