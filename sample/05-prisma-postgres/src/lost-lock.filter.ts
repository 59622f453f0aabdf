import { Catch, ConflictException, type ArgumentsHost } from '@nestjs/common';
import { BaseExceptionFilter } from '@nestjs/core';
import { LockLostError } from 'nestjs-locked';

/**
 * Answers 409 if another instance has taken over the lock of a request, which has then written
 * nothing.
 */
@Catch(LockLostError)
export class LostLockFilter extends BaseExceptionFilter {
  override catch(_: LockLostError, host: ArgumentsHost): void {
    super.catch(new ConflictException('Another import took over. Nothing was written.'), host);
  }
}
