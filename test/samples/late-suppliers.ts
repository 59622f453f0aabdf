import { EventEmitter, once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A request for the price list of a supplier. */
export interface ListRequest {
  answer(list: Record<string, number>): void;
}

/** Stands in for the suppliers of samples 05 and 06: they answer when the test lets them. */
export class LateSuppliers {
  private readonly unseen: ServerResponse[] = [];
  private readonly events = new EventEmitter();
  private readonly server = createServer((_, response) => {
    this.unseen.push(response);
    this.events.emit('request');
  });

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async listen(): Promise<void> {
    await once(this.server.listen(0, '127.0.0.1'), 'listening');
  }

  /** The next request that no test has seen yet. */
  async request(): Promise<ListRequest> {
    while (this.unseen.length === 0) await once(this.events, 'request');
    const response = this.unseen.shift()!;
    return { answer: (list) => response.end(JSON.stringify(list)) };
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }
}
