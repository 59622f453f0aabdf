import { Inject } from '@nestjs/common';
import { getLockServiceToken } from '../lock.tokens.js';

/** Injects the `LockService` of the `LockModule` with this name, or of the one without. @publicApi */
export function InjectLockService(name?: string): PropertyDecorator & ParameterDecorator {
  return Inject(getLockServiceToken(name));
}
