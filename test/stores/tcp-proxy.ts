import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** Stands between a driver and its server, and misbehaves on demand. */
export class TcpProxy {
  private readonly sockets = new Set<Socket>();
  private silent = false;
  private cutAt: { text: string; times: number } | undefined;
  private connections = 0;

  private constructor(
    private readonly server: ReturnType<typeof createServer>,
    readonly port: number,
  ) {}

  /** @param at the port to listen on: where another one was closed, the server seems to come back */
  static async open(options: { host?: string; port?: number }, at = 0): Promise<TcpProxy> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(at, '127.0.0.1', resolve));
    const proxy = new TcpProxy(server, (server.address() as AddressInfo).port);
    server.on('connection', (client) => proxy.pass(client, connect(options.port ?? 0, options.host)));
    return proxy;
  }

  /** From here on nothing goes through any more, and nobody is told. */
  blackHole(): void {
    this.silent = true;
  }

  heal(): void {
    this.silent = false;
  }

  /** Ends the connections that there are. */
  cut(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  /** Lets the request through that is the nth to contain this text, but not its answer: the link breaks when the server has answered. */
  cutAfter(text: string, nth = 1): void {
    this.cutAt = { text, times: nth };
  }

  get accepted(): number {
    return this.connections;
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private pass(client: Socket, server: Socket): void {
    this.connections++;
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
      if (this.silent) return;
      if (this.cutAt && data.includes(this.cutAt.text) && --this.cutAt.times === 0) {
        cutting = true;
        this.cutAt = undefined;
      }
      server.write(data);
    });
    server.on('data', (data) => {
      if (this.silent) return;
      if (cutting) client.destroy();
      else client.write(data);
    });
  }
}
