import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/**
 * What every one of the three servers says in the error of a statement that it refuses because
 * it is read-only.
 */
const REFUSED = 'read-only';

/**
 * Where applications find the database, whichever server that is: a virtual IP address or a
 * DNS name in production. When it leads to another server, connections that are open stay
 * where they are.
 */
export class Address {
  /**
   * Of each connection that was made, in order: the port that it leads to, and how many
   * statements were refused as read-only on it.
   *
   * @type {{ port: number, refused: number }[]}
   */
  connections = [];
  /** What applications connect to. */
  url = '';
  /** @type {{ host: string, port: number }} */
  #target = { host: '127.0.0.1', port: 0 };
  #sockets = new Set();
  #server = createServer((client) => this.#pass(client));

  /**
   * @param {string} url
   * @returns {Promise<Address>}
   */
  static async of(url) {
    const address = new Address();
    address.leadTo(url);
    await once(address.#server.listen(0, '127.0.0.1'), 'listening');
    const own = new URL(url);
    own.port = address.#server.address().port;
    address.url = own.href;
    return address;
  }

  /** @param {string} url */
  leadTo(url) {
    const { hostname: host, port } = new URL(url);
    this.#target = { host, port: Number(port) };
  }

  /** @returns {void} */
  close() {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #pass(client) {
    const server = connect(this.#target);
    const connection = { port: this.#target.port, refused: 0 };
    this.connections.push(connection);
    for (const [one, other] of [
      [client, server],
      [server, client],
    ]) {
      this.#sockets.add(one);
      one
        .on('error', () => {})
        .on('close', () => {
          this.#sockets.delete(one);
          other.destroy();
        });
      one.pipe(other);
    }
    server.on('data', (data) => {
      connection.refused += data.toString('latin1').split(REFUSED).length - 1;
    });
  }
}
