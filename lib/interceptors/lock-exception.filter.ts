import { Catch, Optional, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import { STATUS_CODES } from 'node:http';
import { throwError, type Observable } from 'rxjs';
import { LockError, LockNotAcquiredError } from '../lock.errors.js';
import { assertKnownOptions } from '../lock.settings.js';
import { httpResponseOf } from './http-response.js';
import { show } from '../show.js';

const STATUSES = [409, 423, 429, 503] as const;
const LONGEST_RETRY_AFTER = 60;
const MESSAGE = 'The resource is in use. Try again later.';

/** Options of `LockExceptionFilter`. @publicApi */
export interface LockExceptionFilterOptions {
  /** The HTTP status of a busy lock. Default 409, Conflict. */
  status?: (typeof STATUSES)[number] | undefined;
}

/** What Express' response and Fastify's reply have in common. */
interface Reply {
  status(code: number): Reply;
  header(name: string, value: string): Reply;
  send(body: object): unknown;
}

/**
 * Answers requests whose lock is busy (`LockNotAcquiredError`): over HTTP with 409 and `Retry-After`, over microservices with the code
 * `LOCK_NOT_ACQUIRED`. The answer tells neither the key nor its holder. Other contexts get the error itself.
 *
 * `Retry-After` is the rest of the holder's lease in seconds, from 1 to 60.
 *
 * @example
 * ```ts
 * app.useGlobalFilters(new LockExceptionFilter({ status: 503 }));
 * ```
 *
 * @throws LockError for a status that is not 409, 423, 429 or 503
 * @publicApi
 */
@Catch(LockNotAcquiredError)
export class LockExceptionFilter implements ExceptionFilter<LockNotAcquiredError> {
  readonly #status: number;

  constructor(@Optional() options: LockExceptionFilterOptions = {}) {
    assertKnownOptions('LockExceptionFilter', options, ['status']);
    const { status = 409 } = options;
    if (!STATUSES.includes(status))
      throw new LockError(
        `The option "status" of LockExceptionFilter must be one of ${STATUSES.join(', ')}, but it is ${show(status)}.`,
      );
    this.#status = status;
  }

  catch(error: LockNotAcquiredError, host: ArgumentsHost): Observable<never> | void {
    const response = httpResponseOf(host);
    if (response?.headersSent) response.end();
    else if (response) this.#reply(host.switchToHttp().getResponse<Reply>(), error);
    else if (host.getType() === 'rpc')
      return throwError(() => ({ status: 'error', code: 'LOCK_NOT_ACQUIRED', message: MESSAGE }));
    else throw error;
  }

  #reply(reply: Reply, { holder }: LockNotAcquiredError): void {
    reply
      .status(this.#status)
      .header('Retry-After', String(retryAfter(holder?.remaining ?? 0)))
      .send({ statusCode: this.#status, message: MESSAGE, error: STATUS_CODES[this.#status] });
  }
}

function retryAfter(remaining: number): number {
  return Math.min(Math.max(1, Math.ceil(remaining / 1000)), LONGEST_RETRY_AFTER);
}
