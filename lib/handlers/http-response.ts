import type { ArgumentsHost } from '@nestjs/common';
import type { ServerResponse } from 'node:http';
import { finished, Stream } from 'node:stream';

/** Node's response of the HTTP request that is handled, with Express as with Fastify; `undefined` for messages, sockets and GraphQL. */
export function httpResponseOf(host: ArgumentsHost): ServerResponse | undefined {
  if (host.getType() !== 'http') return undefined;
  const response = host.switchToHttp().getResponse<ServerResponse | { raw: ServerResponse } | undefined>();
  const raw = response && 'raw' in response ? response.raw : response;
  // Libraries that call handlers through Nest's ExternalContextCreator may say "http" without a response.
  return raw instanceof Stream ? raw : undefined;
}

/** Resolves when the response has been sent, or its client has gone. */
export function responseOver(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const removeListeners = finished(response, () => {
      removeListeners();
      resolve();
    });
  });
}

/** Breaks off a body that is still being streamed, so that its client cannot take it for complete. */
export function cutOff(response: ServerResponse): void {
  if (response.headersSent && !response.writableEnded) response.destroy();
}
