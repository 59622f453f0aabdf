import { Catch, Optional, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import { STATUS_CODES } from 'node:http';
import { throwError, type Observable } from 'rxjs';
import { LockError, LockNotAcquiredError, show } from '../lock.errors.js';
import { httpResponseOf } from './run-under-lock.js';
import { assertKnownOptions } from '../options/known-options.js';

const STATUSES = [409, 423, 429, 503] as const;
const LONGEST_RETRY_AFTER = 60;
const MESSAGE = 'The resource is in use. Try again later.';
const CODE = 'LOCK_NOT_ACQUIRED';
const ERROR = { status: 'error', code: CODE, message: MESSAGE };
const OPEN = 1; // the readyState of a WebSocket that is connected

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

/** The client of a gateway: a socket of Socket.IO, or of the package `ws`. */
interface Socket {
  emit?(event: string, data: unknown): unknown;
  /**
   * The state of a socket of the package `ws`; a socket of Socket.IO has no such number.
   * `emit` of a `ws` socket only calls listeners in this process and sends nothing.
   */
  readyState?: number;
  send?(text: string): unknown;
}

/**
 * Answers requests whose lock is busy (`LockNotAcquiredError`). No answer shows the key, the
 * holder or a token.
 *
 * - HTTP: 409 with `Retry-After`.
 * - Microservices: an error with the code `LOCK_NOT_ACQUIRED`.
 * - Gateways: the event `exception`, as for Nest's own errors, with the same code.
 * - GraphQL: an error whose `extensions.code` is `LOCK_NOT_ACQUIRED`.
 *
 * In other contexts, such as commands, the filter throws the error on.
 *
 * `Retry-After` is in whole seconds, from 1 to 60. It is how long the last run of the key took
 * in this process, or else the last run of the decorated method. It is at most the rest of the
 * holder's lease. A process without such a run answers with the rest of the lease, which may
 * be far longer than the work.
 *
 * For HTTP and GraphQL: `app.useGlobalFilters(new LockExceptionFilter({ status: 503 }))`
 *
 * For gateways, which have no global filters: `@UseFilters(LockExceptionFilter)`
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
    else
      switch (host.getType<string>()) {
        case 'rpc':
          return throwError(() => ({ ...ERROR }));
        case 'ws':
          return emitException(host.switchToWs());
        case 'graphql':
          throw Object.assign(new Error(MESSAGE), { extensions: { code: CODE } });
        default:
          throw error;
      }
  }

  #reply(reply: Reply, error: LockNotAcquiredError): void {
    reply
      .status(this.#status)
      .header('Retry-After', String(retryAfter(error)))
      .send({ statusCode: this.#status, message: MESSAGE, error: STATUS_CODES[this.#status] });
  }
}

/**
 * Emits the event that Nest's own filter for gateways emits, so that clients need one listener
 * for all errors.
 */
function emitException(context: ReturnType<ArgumentsHost['switchToWs']>): void {
  const socket = context.getClient<Socket | undefined>();
  // Includes the request, as Nest's own filter does: a client that waits for several answers
  // needs to know which request failed.
  const data = { ...ERROR, cause: { pattern: context.getPattern(), data: context.getData<unknown>() } };
  if (socket?.readyState === undefined) socket?.emit?.('exception', data);
  else if (socket.readyState === OPEN) socket.send?.(JSON.stringify({ event: 'exception', data }));
}

function retryAfter(error: LockNotAcquiredError): number {
  return Math.min(Math.max(1, Math.ceil(error.retryAfter / 1000)), LONGEST_RETRY_AFTER);
}
