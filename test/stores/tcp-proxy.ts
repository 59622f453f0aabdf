import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** The message with which a PostgreSQL server reports that a session is idle. */
const READY = Buffer.from([0x5a, 0, 0, 0, 5, 0x49]);
/** The message with which a PostgreSQL server ends a session. */
const FATAL = fatalMessage('SFATAL', 'VFATAL', 'C57P02', 'Mterminating connection');

function fatalMessage(...fields: string[]): Buffer {
  const body = Buffer.from(`${fields.join('\0')}\0\0`);
  const head = Buffer.from('E\0\0\0\0');
  head.writeInt32BE(4 + body.length, 1);
  return Buffer.concat([head, body]);
}

/**
 * Forwards the traffic between a driver and its server, and breaks connections when a test
 * says so.
 */
export class TcpProxy {
  private readonly sockets = new Set<Socket>();
  private silent = false;
  private refusing = false;
  private readonly holes = new Set<number>();
  private cutAt: { text: string; times: number } | undefined;
  private endsNext = false;
  private connections = 0;
  private refusals = 0;

  private constructor(
    private readonly server: ReturnType<typeof createServer>,
    readonly port: number,
  ) {}

  /**
   * @param at the port to listen on: with the port of a closed proxy, the server seems to be
   * back
   */
  static async open(options: { host?: string; port?: number }, at = 0): Promise<TcpProxy> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(at, '127.0.0.1', resolve));
    const proxy = new TcpProxy(server, (server.address() as AddressInfo).port);
    server.on('connection', (client) => {
      if (proxy.refusing) {
        proxy.refusals++;
        client.destroy();
      } else proxy.pass(client, connect(options.port ?? 0, options.host));
    });
    return proxy;
  }

  /** Stops forwarding on all connections, or on the nth, without closing a connection. */
  blackHole(nth?: number): void {
    if (nth === undefined) this.silent = true;
    else this.holes.add(nth);
  }

  /** Refuses all new connections from now on. */
  refuse(): void {
    this.refusing = true;
  }

  heal(): void {
    this.silent = false;
    this.refusing = false;
    this.holes.clear();
  }

  /** Closes all open connections. */
  cut(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  /**
   * Forwards the nth request that contains this text, but closes the connection before the
   * answer.
   */
  cutAfter(text: string, nth = 1): void {
    this.cutAt = { text, times: nth };
  }

  /**
   * Ends the next PostgreSQL session with its first packet, as a server that is shutting down
   * does.
   */
  endNextSession(): void {
    this.endsNext = true;
  }

  get refused(): number {
    return this.refusals;
  }

  get accepted(): number {
    return this.connections;
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private pass(client: Socket, server: Socket): void {
    const number = ++this.connections;
    const silent = () => this.silent || this.holes.has(number);
    let cutting = false;
    for (const socket of [client, server]) {
      this.sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        this.sockets.delete(socket);
        client.destroy();
        server.destroy();
      });
    }
    client.on('data', (data) => {
      if (silent()) return;
      if (this.cutAt && data.includes(this.cutAt.text) && --this.cutAt.times === 0) {
        cutting = true;
        this.cutAt = undefined;
      }
      server.write(data);
    });
    server.on('data', (data) => {
      if (silent()) return;
      if (cutting) client.destroy();
      else if (this.endsNext && data.subarray(-READY.length).equals(READY)) {
        this.endsNext = false;
        client.end(Buffer.concat([data, FATAL]));
      } else client.write(data);
    });
  }
}
