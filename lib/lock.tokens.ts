import { Inject, type Type } from '@nestjs/common';
import { LockAdmin } from './administration/lock-admin.js';
import { LockService } from './lock.service.js';

/** The name of a module that the application gave no name. */
export const DEFAULT_MODULE = 'default';

/**
 * The token of a module's `LockService`: the class itself, or a readable string for a named
 * module.
 *
 * @publicApi
 */
export function getLockServiceToken(name: string = DEFAULT_MODULE): Type<LockService> | string {
  return name === DEFAULT_MODULE ? LockService : `LockService:${name}`;
}

/**
 * The token of a module's `LockAdmin`: the class itself, or a readable string for a named
 * module.
 *
 * @publicApi
 */
export function getLockAdminToken(name: string = DEFAULT_MODULE): Type<LockAdmin> | string {
  return name === DEFAULT_MODULE ? LockAdmin : `LockAdmin:${name}`;
}

/**
 * Injects the `LockService` of the module with this name, or of the unnamed module.
 *
 * @publicApi
 */
export function InjectLockService(name?: string): PropertyDecorator & ParameterDecorator {
  return Inject(getLockServiceToken(name));
}

/**
 * Injects the `LockAdmin` of a module that has a name. Without a name, inject `LockAdmin` by
 * its class.
 *
 * @publicApi
 */
export function InjectLockAdmin(name?: string): ParameterDecorator & PropertyDecorator {
  return Inject(getLockAdminToken(name));
}

/**
 * The hidden property through which a decorated method finds its service. If Nest cannot
 * inject the service, its error shows the description of this symbol, so the description says
 * what to do.
 */
export function lockServiceProperty(name: string): symbol {
  const call =
    name === DEFAULT_MODULE
      ? 'LockModule.forRoot({ store })'
      : `LockModule.forRoot({ name: '${name}', store })`;
  return Symbol.for(`nestjs-locked: @Locked() needs a LockService; import ${call} in the root module`);
}
