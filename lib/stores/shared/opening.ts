import { LockError, LockStoreError } from '../../lock.errors.js';

/**
 * Opens a store before its first use. It opens the store again after a failure, or when the
 * application has replaced its client. After the store was closed, it refuses.
 */
export class Opening<T> {
  private opening: Promise<T> | undefined;
  private isClosed = false;

  /** @param isCurrent whether what was opened can still be used */
  constructor(
    private readonly open: () => Promise<T>,
    private readonly isCurrent: (opened: T) => boolean = () => true,
  ) {}

  /** Opens the store, also after it was closed. */
  async start(): Promise<void> {
    this.isClosed = false;
    await this.get('open it');
  }

  get closed(): boolean {
    return this.isClosed;
  }

  /**
   * @param doing what the store is used for, such as `acquire "nightly-report"`
   * @throws LockStoreError once the store was closed
   */
  async get(doing: string): Promise<T> {
    if (this.isClosed) throw new LockStoreError(`Could not ${doing}: the lock store is closed.`);
    const opening = this.begin();
    const opened = await opening;
    if (this.isClosed || this.isCurrent(opened)) return opened;
    if (this.opening === opening) this.opening = undefined;
    return this.begin();
  }

  /** Refuses from here on, and gives what the caller has to close. */
  async close(): Promise<T | undefined> {
    this.isClosed = true;
    const opened = await this.opening?.catch(() => undefined); // the operation that opened it has failed
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

/**
 * Imports a package that only applications with this store have installed.
 *
 * @param user the function that needs the package, for messages
 * @param packages what to install
 * @throws LockError that says what to install
 */
export async function loadPackage<Module>(
  user: string,
  name: string,
  packages: string,
  importing: () => Promise<Module>,
): Promise<Module> {
  try {
    return await importing();
  } catch (error) {
    throw new LockError(`${user} needs the package ${name}. Run: npm install ${packages}.`, { cause: error });
  }
}
