import { EventEmitter, once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A request that has arrived and waits until the test answers it. */
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

/** Plays a service that a sample calls: each request waits until the test answers it. */
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

  /**
   * The number of requests that have arrived, without those that {@link next} has returned.
   */
  get others(): number {
    return this.unseen.length;
  }

  async listen(): Promise<void> {
    await once(this.server.listen(0, '127.0.0.1'), 'listening');
  }

  /** Resolves to the oldest request that it has not returned yet. */
  async next(): Promise<HeldRequest> {
    while (this.unseen.length === 0) await once(this.events, 'request');
    return this.unseen.shift() as HeldRequest;
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}
