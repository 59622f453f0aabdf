import type { StoreSettings } from './mongo-store.options.js';

/** `signal`: the driver (6.13 or newer) does not send the operation again after it was aborted. Its types say so of reads only. */
type Common = typeof AS_VALUES & { maxTimeMS: number; signal?: AbortSignal };

/** Options of one operation, which overrule what the application's client has. */
export interface OperationOptions {
  read: Common & { readPreference: 'primary'; readConcern: { level: 'local' } };
  write: Common & { writeConcern: StoreSettings['writeConcern'] };
}

/** However the application reads its own documents. */
export const AS_VALUES = {
  raw: false,
  promoteValues: true,
  promoteLongs: true,
  useBigInt64: false,
  ignoreUndefined: false,
  fieldsAsRaw: {},
};

/** @param limit milliseconds */
export function optionsFor(
  { writeConcern }: StoreSettings,
  limit: number,
  signal?: AbortSignal,
): OperationOptions {
  const maxTimeMS = Math.ceil(limit);
  const common = { ...AS_VALUES, maxTimeMS, ...(signal && { signal }) };
  const wtimeoutMS = Math.min(writeConcern.wtimeoutMS, maxTimeMS);
  return {
    read: { ...common, readPreference: 'primary', readConcern: { level: 'local' } },
    write: { ...common, writeConcern: { ...writeConcern, wtimeoutMS } },
  };
}
