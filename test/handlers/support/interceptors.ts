import {
  Injectable,
  RequestTimeoutException,
  type CallHandler,
  type ExecutionContext,
  type NestInterceptor,
} from '@nestjs/common';
import { from, map, mergeMap, takeUntil, throwError } from 'rxjs';

/** Makes the key of a lock from the parameter `id` of the route. */
export const orderKey = (context: ExecutionContext): string =>
  `order:${context.switchToHttp().getRequest<{ params: { id: string } }>().params.id}`;

/**
 * A time-out interceptor without a timer: when the test calls `expire`, it answers with status
 * 408 and unsubscribes from the handler.
 */
export class TimeOut implements NestInterceptor {
  expire: () => void = () => {};
  readonly #expired = new Promise<void>((resolve) => (this.expire = resolve));

  intercept(_: ExecutionContext, next: CallHandler) {
    const expired = from(this.#expired).pipe(mergeMap(() => throwError(() => new RequestTimeoutException())));
    return next.handle().pipe(takeUntil(expired));
  }
}

/** Turns the answer into upper case, so that a test sees whether this interceptor got it. */
@Injectable()
export class Shout implements NestInterceptor {
  intercept(_: ExecutionContext, next: CallHandler) {
    return next.handle().pipe(map((answer) => String(answer).toUpperCase()));
  }
}
