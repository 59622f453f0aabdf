import { EventEmitter, once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A request that waits for its answer. */
export class HeldRequest {
  /** Resolves when the connection of the request has closed, with or without an answer. */
  readonly over: Promise<unknown>;

  constructor(private readonly response: ServerResponse) {
    this.over = once(response, 'close');
  }

  answer(value: unknown): void {
    this.response.end(JSON.stringify(value));
  }
}

/** Stands in for a service of a sample: it answers when the test lets it. */
export class HeldRequests {
  private readonly unseen: HeldRequest[] = [];
  private readonly events = new EventEmitter();
  private readonly server = createServer((_, response) => {
    this.unseen.push(new HeldRequest(response));
    this.events.emit('request');
  });

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** How many requests have arrived that {@link next} has not returned yet. */
  get others(): number {
    return this.unseen.length;
  }

  async listen(): Promise<void> {
    await once(this.server.listen(0, '127.0.0.1'), 'listening');
  }

  /** Resolves to the next request. */
  async next(): Promise<HeldRequest> {
    while (this.unseen.length === 0) await once(this.events, 'request');
    return this.unseen.shift() as HeldRequest;
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}
