import { Catch, ConflictException, type ArgumentsHost } from '@nestjs/common';
import { BaseExceptionFilter } from '@nestjs/core';
import { LockLostError } from 'nestjs-locked';

/** Answers 409 when another instance has taken the lock over, so that nothing was written. */
@Catch(LockLostError)
export class LostLockFilter extends BaseExceptionFilter {
  override catch(_: LockLostError, host: ArgumentsHost): void {
    super.catch(new ConflictException('Another import took over. Nothing was written.'), host);
  }
}
