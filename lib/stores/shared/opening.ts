import { LockError, LockStoreError } from '../../lock.errors.js';

/**
 * Opens a store before its first use. Opens the store again after a failure, or when the
 * application has replaced its client. Refuses operations once the store is closed.
 */
export class Opening<T> {
  private opening: Promise<T> | undefined;
  private isClosed = false;

  /** @param isCurrent whether the opened object can still be used */
  constructor(
    private readonly open: () => Promise<T>,
    private readonly isCurrent: (opened: T) => boolean = () => true,
  ) {}

  /** Opens the store, even after it was closed. */
  async start(): Promise<void> {
    this.isClosed = false;
    await this.get('open it');
  }

  get closed(): boolean {
    return this.isClosed;
  }

  /**
   * @param doing the operation that uses the store, such as `acquire "nightly-report"`
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

  /**
   * Closes the store for further operations, and returns the object that the caller has to
   * close.
   */
  async close(): Promise<T | undefined> {
    this.isClosed = true;
    // the operation that opened the store has reported the error
    const opened = await this.opening?.catch(() => undefined);
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
 * Imports a package that only applications with this kind of store have installed.
 *
 * @param user the function that needs the package, for messages
 * @param packages the packages to install, for the message
 * @throws LockError that names the packages to install
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
