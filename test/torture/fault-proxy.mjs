import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/**
 * A proxy between one worker and the server. It breaks or delays connections when a test says
 * so.
 */
export class FaultProxy {
  #links = new Set();
  #server;
  #target;
  #silent = false;
  #latency = 0;
  #answersLost = false;

  /** @param target `{ host, port }` of the server */
  static async open(target) {
    const proxy = new FaultProxy(target);
    await once(proxy.#server.listen(0, '127.0.0.1'), 'listening');
    return proxy;
  }

  constructor(target) {
    this.#target = target;
    this.#server = createServer((client) => this.#pass(client));
  }

  get port() {
    return this.#server.address().port;
  }

  /** The number of connections that are open through the proxy now. */
  get open() {
    return this.#links.size;
  }

  cut() {
    for (const { client, server } of this.#links) {
      client.resetAndDestroy();
      server.destroy();
    }
  }

  /**
   * While `lost` is `true`, the server gets all requests, but the link breaks before the
   * answer reaches the worker.
   */
  loseAnswers(lost) {
    this.#answersLost = lost;
  }

  /** Delays the data of each direction by this many milliseconds. */
  delay(latency) {
    this.#latency = latency;
  }

  /**
   * While `silent` is `true`, no data pass, and neither side notices. The data arrive
   * afterwards, unless the link is cut first.
   */
  blackHole(silent) {
    this.#silent = silent;
    for (const { client, server } of this.#links) {
      for (const socket of [client, server]) {
        if (silent) socket.pause();
        else socket.resume();
      }
    }
  }

  async close() {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #pass(client) {
    const server = connect(this.#target);
    const link = { client, server };
    this.#links.add(link);
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      // Node emits 'close' after each error, and that event is handled.
      socket.on('error', () => {});
      socket.on('close', () => {
        this.#links.delete(link);
        client.destroy();
        server.destroy();
      });
    }
    this.#forward(client, server, () => true);
    this.#forward(server, client, () => {
      if (this.#answersLost) client.resetAndDestroy();
      return !this.#answersLost;
    });
    if (this.#silent) for (const socket of [client, server]) socket.pause();
  }

  /** Forwards data in their order, even if the latency is lowered while data are waiting. */
  #forward(from, to, passes) {
    const waiting = [];
    const deliver = () => {
      while (waiting.length > 0 && waiting[0].due <= performance.now()) waiting.shift().action();
      if (waiting.length > 0) setTimeout(deliver, Math.ceil(waiting[0].due - performance.now()));
    };
    const arrive = (action) => {
      waiting.push({ due: performance.now() + this.#latency, action });
      if (this.#latency === 0 && waiting.length === 1) deliver();
      else if (waiting.length === 1) setTimeout(deliver, this.#latency);
    };
    from.on('data', (data) => passes() && arrive(() => to.destroyed || to.write(data)));
    from.on('end', () => arrive(() => to.destroyed || to.end()));
  }
}
