import { parseDuration } from './duration.js';
import { LockError, mustBe } from '../lock.errors.js';
import type { LockModuleDefaults } from './lock.options.js';
import {
  DEFAULT_SETTINGS,
  LOCK_OPTIONS,
  readBoolean,
  readSettings,
  type LockSettings,
} from './lock.settings.js';
import { DEFAULTS } from './defaults.js';
import { assertKnownOptions } from './known-options.js';

/** The names of the options that `LockModule` takes. */
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

/** How many calls may wait at a time, including those with an attempt under way. */
export interface WaitLimits {
  perKey: number;
  total: number;
}

/** The options of a module, after they were read and checked, with the defaults. */
export interface ModuleSettings {
  /** The settings of the module's locks, which decorators and calls may change. */
  readonly defaults: LockSettings;
  readonly enabled: boolean;
  /** The prefix of all keys with its colon, or an empty text. */
  readonly prefix: string;
  readonly requireKeys: boolean;
  readonly shutdownTimeout: number;
  /** When unused keys are deleted, in milliseconds; `undefined` if they are kept. */
  readonly purge: { olderThan: number; every: number } | undefined;
  readonly statusFile: string | undefined;
  readonly maxWaiters: WaitLimits;
}

/** @throws LockError that names the option, its value and its limits */
export function readModuleSettings(where: string, options: LockModuleDefaults): ModuleSettings {
  assertKnownOptions(where, options, MODULE_OPTIONS);
  const name = (option: string): string => `The option "${option}" of ${where}`;
  const {
    enabled = true,
    prefix,
    requireKeys = false,
    shutdownTimeout = DEFAULTS.shutdownTimeout,
    purge,
    statusFile,
    maxWaiters = {},
  } = options;
  return {
    defaults: readSettings(where, options, DEFAULT_SETTINGS),
    enabled: readBoolean(name('enabled'), enabled),
    prefix: prefix === undefined ? '' : readPrefix(name('prefix'), prefix),
    requireKeys: readBoolean(name('requireKeys'), requireKeys),
    shutdownTimeout: parseDuration(name('shutdownTimeout'), shutdownTimeout, { min: 0 }),
    purge: purge === undefined ? undefined : readPurge(name('purge'), purge),
    statusFile: statusFile === undefined ? undefined : readPath(name('statusFile'), statusFile),
    maxWaiters: readMaxWaiters(where, maxWaiters),
  };
}

function readMaxWaiters(where: string, limits: unknown): WaitLimits {
  assertKnownOptions(`The option "maxWaiters" of ${where}`, limits, ['perKey', 'total']);
  const { perKey = Infinity, total = Infinity } = limits as { perKey?: unknown; total?: unknown };
  const name = (limit: string): string => `The option "maxWaiters.${limit}" of ${where}`;
  return { perKey: readLimit(name('perKey'), perKey), total: readLimit(name('total'), total) };
}

function readLimit(name: string, limit: unknown): number {
  if (limit === Infinity || (Number.isSafeInteger(limit) && Number(limit) >= 1)) return Number(limit);
  throw new LockError(mustBe(name, 'a whole number from 1, or Infinity', limit));
}

function readPurge(name: string, schedule: unknown): ModuleSettings['purge'] {
  assertKnownOptions(name, schedule, ['olderThan', 'every']);
  const { olderThan, every = DEFAULTS.purgeEvery } = schedule as { olderThan?: unknown; every?: unknown };
  return {
    olderThan: parseDuration(`${name}.olderThan`, olderThan, { min: 60_000 }),
    every: parseDuration(`${name}.every`, every, { min: 60_000 }),
  };
}

function readPath(name: string, file: unknown): string {
  if (typeof file === 'string' && file !== '' && !file.includes('\0')) return file;
  throw new LockError(mustBe(name, 'the path of a file', file));
}

/** Refuses a prefix that could make two applications' keys collide. */
function readPrefix(name: string, prefix: unknown): string {
  if (typeof prefix === 'string' && /^[\w.-]{1,64}$/.test(prefix)) return `${prefix}:`;
  throw new LockError(mustBe(name, '1 to 64 letters, digits, ".", "_" or "-"', prefix));
}
