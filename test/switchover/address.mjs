import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/**
 * If a server refuses a statement because the server is read-only, the error contains this
 * word on PostgreSQL, MariaDB and MySQL.
 */
const REFUSED = 'read-only';

/**
 * Plays the address of the database, which is a virtual IP address or a DNS name in
 * production. When the address moves to another server, open connections still lead to the old
 * server.
 */
export class Address {
  /**
   * For each connection, the oldest first: the port of the server that it leads to, and how
   * many of its statements that server refused as read-only.
   *
   * @type {{ port: number, refused: number }[]}
   */
  connections = [];
  /** The URL that applications connect to. */
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
