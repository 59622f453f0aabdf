import { Inject } from '@nestjs/common';
import { getLockAdminToken, getLockServiceToken } from '../lock.tokens.js';

/** Injects the `LockService` of the `LockModule` with this name, or of the one without. @publicApi */
export function InjectLockService(name?: string): PropertyDecorator & ParameterDecorator {
  return Inject(getLockServiceToken(name));
}

/** Injects the `LockAdmin` of a module that has a name; without one, inject `LockAdmin` by its class. @publicApi */
export function InjectLockAdmin(name?: string): ParameterDecorator & PropertyDecorator {
  return Inject(getLockAdminToken(name));
}
