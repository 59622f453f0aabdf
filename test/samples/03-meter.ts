import { EventEmitter, once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A request to the meter that waits for its answer. */
export class Reading {
  /** Resolves when the connection of the request has closed, with or without an answer. */
  readonly over: Promise<unknown>;

  constructor(private readonly response: ServerResponse) {
    this.over = once(response, 'close');
  }

  answer(amount: number): void {
    this.response.end(String(amount));
  }
}

/** Stands in for the meter: it answers when the test lets it. */
export class Meter {
  private readonly unseen: Reading[] = [];
  private readonly events = new EventEmitter();
  private readonly server = createServer((_, response) => {
    this.unseen.push(new Reading(response));
    this.events.emit('asked');
  });

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** How many requests have arrived that {@link asked} has not returned yet. */
  get others(): number {
    return this.unseen.length;
  }

  async listen(): Promise<void> {
    await once(this.server.listen(0, '127.0.0.1'), 'listening');
  }

  /** Resolves to the next request. */
  async asked(): Promise<Reading> {
    while (this.unseen.length === 0) await once(this.events, 'asked');
    return this.unseen.shift() as Reading;
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}
