import { once } from 'node:events';
import { afterEach } from '@jest/globals';
import type { INestApplication } from '@nestjs/common';
import { IoAdapter } from '@nestjs/platform-socket.io';
import { WsAdapter } from '@nestjs/platform-ws';
import { io } from 'socket.io-client';
import { WebSocket } from 'ws';

/** One connection to a gateway. */
export interface SocketClient {
  /** Sends an event; resolves to the first event that comes back. */
  ask(event: string, data: unknown): Promise<{ event: string; data: unknown }>;
}

const open = new Set<() => unknown>();

afterEach(() => {
  for (const close of open) close();
  open.clear();
});

export const socketPlatforms: [
  string,
  (app: INestApplication) => void,
  (url: string) => Promise<SocketClient>,
][] = [
  ['Socket.IO', (app) => app.useWebSocketAdapter(new IoAdapter(app)), connectIo],
  ['ws', (app) => app.useWebSocketAdapter(new WsAdapter(app)), connectWs],
];

async function connectIo(url: string): Promise<SocketClient> {
  const socket = io(url, { transports: ['websocket'], reconnection: false });
  open.add(() => socket.disconnect());
  await new Promise<void>((resolve, reject) => socket.on('connect', resolve).on('connect_error', reject));
  return {
    ask: (event, data) =>
      new Promise((resolve) => {
        socket.offAny().onAny((name: string, answer: unknown) => resolve({ event: name, data: answer }));
        socket.emit(event, data);
      }),
  };
}

async function connectWs(url: string): Promise<SocketClient> {
  const socket = new WebSocket(url.replace('http', 'ws'));
  open.add(() => socket.close());
  await once(socket, 'open');
  return {
    async ask(event, data) {
      const answer = once(socket, 'message');
      socket.send(JSON.stringify({ event, data }));
      const [message] = await answer;
      return JSON.parse(String(message)) as { event: string; data: unknown };
    },
  };
}
