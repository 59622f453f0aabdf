import { EventEmitter, once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';

/** Plays the payment provider, which answers a charge only when the test calls `accept`. */
export class PaymentProvider {
  /** The ids of the orders that the application has charged, the oldest charge first. */
  requests: number[] = [];
  #pending = new Map<number, ServerResponse>();
  readonly #events = new EventEmitter();
  readonly #server = createServer((request, response) => {
    void json(request).then((order) => {
      const { id } = order as { id: number };
      this.requests.push(id);
      this.#pending.set(id, response);
      this.#events.emit('asked');
    });
  });

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async listen(): Promise<void> {
    await once(this.#server.listen(0, '127.0.0.1'), 'listening');
  }

  /** Resolves when the application's request to charge the order has arrived. */
  async asked(id: number): Promise<void> {
    while (!this.#pending.has(id)) await once(this.#events, 'asked');
  }

  accept(id: number): void {
    this.#pending.get(id)?.end();
    this.#pending.delete(id);
  }

  reset(): void {
    for (const id of this.#pending.keys()) this.accept(id);
    this.requests = [];
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}
