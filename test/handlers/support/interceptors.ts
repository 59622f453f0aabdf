import {
  Injectable,
  RequestTimeoutException,
  type CallHandler,
  type ExecutionContext,
  type NestInterceptor,
} from '@nestjs/common';
import { from, map, mergeMap, takeUntil, throwError } from 'rxjs';

/** A key made from the route's parameter. */
export const orderKey = (context: ExecutionContext): string =>
  `order:${context.switchToHttp().getRequest<{ params: { id: string } }>().params.id}`;

/**
 * A time-out interceptor whose time is up when the test says so: it answers 408 and
 * unsubscribes.
 */
export class TimeOut implements NestInterceptor {
  expire: () => void = () => {};
  readonly #expired = new Promise<void>((resolve) => (this.expire = resolve));

  intercept(_: ExecutionContext, next: CallHandler) {
    const expired = from(this.#expired).pipe(mergeMap(() => throwError(() => new RequestTimeoutException())));
    return next.handle().pipe(takeUntil(expired));
  }
}

/** Changes the answer, so a test sees that interceptors around the lock get it. */
@Injectable()
export class Shout implements NestInterceptor {
  intercept(_: ExecutionContext, next: CallHandler) {
    return next.handle().pipe(map((answer) => String(answer).toUpperCase()));
  }
}
