import { LockError } from '../../lock.errors.js';

/**
 * The connection is in no open transaction, or belongs to another pool than the locks. The
 * message names what the driver needs; an executor over that driver names what its own client
 * needs.
 */
export class NoOpenTransactionError extends LockError {}
