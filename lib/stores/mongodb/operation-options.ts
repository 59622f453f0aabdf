import type { StoreSettings } from './mongo-store.options.js';

/** Options of one operation, which overrule what the application's client has. */
export interface OperationOptions {
  read: typeof AS_VALUES & { maxTimeMS: number; readPreference: 'primary'; readConcern: { level: 'local' } };
  write: typeof AS_VALUES & { maxTimeMS: number; writeConcern: StoreSettings['writeConcern'] };
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
export function optionsFor({ writeConcern }: StoreSettings, limit: number): OperationOptions {
  const maxTimeMS = Math.ceil(limit);
  const wtimeoutMS = Math.min(writeConcern.wtimeoutMS, maxTimeMS);
  return {
    read: { ...AS_VALUES, maxTimeMS, readPreference: 'primary', readConcern: { level: 'local' } },
    write: { ...AS_VALUES, maxTimeMS, writeConcern: { ...writeConcern, wtimeoutMS } },
  };
}
