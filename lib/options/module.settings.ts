import { parseDuration } from './duration.js';
import { LockError } from '../lock.errors.js';
import type { LockModuleDefaults } from './lock.options.js';
import {
  defaultSettings,
  LOCK_OPTIONS,
  readBoolean,
  readSettings,
  type LockSettings,
} from './lock.settings.js';
import { DEFAULTS } from './defaults.js';
import { assertKnownOptions } from './known-options.js';
import { show } from '../error-text.js';

/** The options that `LockModule` takes. */
const MODULE_OPTIONS: readonly string[] = [
  ...LOCK_OPTIONS,
  'reentrant',
  'store',
  'enabled',
  'prefix',
  'requireKeys',
  'shutdownTimeout',
  'purge',
  'statusFile',
  'maxWaiters',
];

/** How many calls may wait at a time, including those that are asking the store. */
export interface WaitLimits {
  perKey: number;
  total: number;
}

/** A module's options, read, checked and completed. */
export interface ModuleSettings {
  /** What its locks have unless a decorator or a call says otherwise. */
  readonly defaults: LockSettings;
  readonly enabled: boolean;
  /** With its colon; empty when there is none. */
  readonly prefix: string;
  readonly requireKeys: boolean;
  readonly shutdownTimeout: number;
  /** In milliseconds. */
  readonly purge: { olderThan: number; every: number } | undefined;
  readonly statusFile: string | undefined;
  readonly maxWaiters: WaitLimits;
}

/** @throws LockError that names the option, its value and its limits */
export function readModuleSettings(where: string, options: LockModuleDefaults): ModuleSettings {
  assertKnownOptions(where, options, MODULE_OPTIONS);
  const { shutdownTimeout = DEFAULTS.shutdownTimeout } = options;
  return {
    defaults: readSettings(where, options, defaultSettings()),
    enabled: readBoolean(`The option "enabled" of ${where}`, options.enabled, true),
    prefix: readPrefix(where, options.prefix),
    requireKeys: readBoolean(`The option "requireKeys" of ${where}`, options.requireKeys, false),
    shutdownTimeout: parseDuration(`The option "shutdownTimeout" of ${where}`, shutdownTimeout, { min: 0 }),
    purge: readPurge(`The option "purge" of ${where}`, options.purge),
    statusFile: readStatusFile(`The option "statusFile" of ${where}`, options.statusFile),
    maxWaiters: readMaxWaiters(where, options.maxWaiters),
  };
}

function readMaxWaiters(where: string, limits: unknown = {}): WaitLimits {
  assertKnownOptions(`The option "maxWaiters" of ${where}`, limits, ['perKey', 'total']);
  const { perKey = Infinity, total = Infinity } = limits as { perKey?: unknown; total?: unknown };
  const name = (limit: string): string => `The option "maxWaiters.${limit}" of ${where}`;
  return { perKey: readLimit(name('perKey'), perKey), total: readLimit(name('total'), total) };
}

function readLimit(name: string, limit: unknown): number {
  if (limit === Infinity || (Number.isSafeInteger(limit) && Number(limit) >= 1)) return Number(limit);
  throw new LockError(`${name} must be a whole number from 1, or Infinity, but it is ${show(limit)}.`);
}

function readPurge(name: string, schedule: unknown): ModuleSettings['purge'] {
  if (schedule === undefined) return undefined;
  assertKnownOptions(name, schedule, ['olderThan', 'every']);
  const { olderThan, every = DEFAULTS.purgeEvery } = schedule as { olderThan?: unknown; every?: unknown };
  return {
    olderThan: parseDuration(`${name}.olderThan`, olderThan, { min: 60_000 }),
    every: parseDuration(`${name}.every`, every, { min: 60_000 }),
  };
}

function readStatusFile(name: string, file: unknown): string | undefined {
  if (file === undefined || (typeof file === 'string' && file !== '' && !file.includes('\0'))) return file;
  throw new LockError(`${name} must be the path of a file, but it is ${show(file)}.`);
}

/** Refuses a prefix that could make two applications' keys collide. */
function readPrefix(where: string, prefix: unknown): string {
  if (prefix === undefined) return '';
  if (typeof prefix === 'string' && /^[\w.-]{1,64}$/.test(prefix)) return `${prefix}:`;
  throw new LockError(
    `The option "prefix" of ${where} must be 1 to 64 letters, digits, ".", "_" or "-", but it is ${show(prefix)}.`,
  );
}
