import 'reflect-metadata';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { afterEach } from '@jest/globals';
import {
  type INestApplication,
  type INestMicroservice,
  type LoggerService,
  type ModuleMetadata,
} from '@nestjs/common';
import { NestFactory, type AbstractHttpAdapter } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import {
  ClientProxyFactory,
  Transport,
  type ClientProxy,
  type MicroserviceOptions,
} from '@nestjs/microservices';
import { LockModule, LockService, type LockEventMap } from '../../../lib/index.js';
import type { LockModuleDefaults } from '../../../lib/options/lock.options.js';
import { rootModule } from '../../module/applications.js';
import { freePort } from '../../servers/free-port.mjs';
import { WatchedStore } from './watched-store.js';

export const platforms: [string, () => AbstractHttpAdapter][] = [
  ['Express', () => new ExpressAdapter()],
  ['Fastify', () => new FastifyAdapter({ forceCloseConnections: true })],
];

/** The module of a test's application, and the options of its LockModule. */
export type Application = ModuleMetadata & { locks?: LockModuleDefaults };

let closing: (() => Promise<unknown>)[] = [];
/** The warnings and errors that were logged since the current test began. */
export let logged: string[] = [];

// No hook looks for unhandled rejections, because Jest fails a test that has one.

afterEach(async () => {
  for (const close of closing.toReversed()) await close();
  closing = [];
  logged = [];
});

export class Running {
  readonly locks: LockService;
  /** The names of the lock events, in the order in which they happened. */
  readonly events: string[] = [];

  constructor(
    readonly app: INestApplication | INestMicroservice,
    readonly store: WatchedStore,
  ) {
    this.locks = app.get(LockService);
    for (const event of ['acquired', 'released', 'lost', 'busy'] as const)
      this.locks.events.on(event, () => this.events.push(event));
  }

  /** Resolves when the event has happened `times` times since the application started. */
  async happened(event: keyof LockEventMap, times = 1): Promise<void> {
    while (this.events.filter((name) => name === event).length < times)
      await new Promise<void>((resolve) => this.locks.events.once(event, () => resolve()));
  }
}

export class RunningHttp extends Running {
  readonly responses: ServerResponse[] = [];

  constructor(
    app: INestApplication,
    store: WatchedStore,
    readonly url: string,
  ) {
    super(app, store);
  }

  /** Node's response object of the latest request. */
  get response(): ServerResponse {
    const response = this.responses.at(-1);
    if (!response) throw new Error('There was no request.');
    return response;
  }

  get(path: string, signal?: AbortSignal): Promise<Response> {
    return fetch(`${this.url}${path}`, { signal });
  }

  /**
   * Sends a request. `leave` aborts the request, and resolves when the server has noticed that
   * the client left.
   */
  client(path: string): { answer: Promise<Response>; leave(): Promise<void> } {
    const controller = new AbortController();
    const answer = this.get(path, controller.signal);
    answer.catch(() => {}); // `leave` aborts the request, which is no error here.
    return {
      answer,
      leave: async () => {
        const closed = once(this.response, 'close');
        controller.abort();
        await closed;
      },
    };
  }
}

/** @param prepare changes the application before it listens */
export async function startHttp(
  adapter: AbstractHttpAdapter,
  metadata: Application,
  prepare: (app: INestApplication) => void = () => {},
): Promise<RunningHttp> {
  const store = new WatchedStore();
  const app = await NestFactory.create(moduleOf(store, metadata), adapter, options);
  closing.push(() => app.close());
  prepare(app);
  const responses: ServerResponse[] = [];
  app.getHttpServer().prependListener('request', (_: unknown, response: ServerResponse) => {
    responses.push(response);
  });
  await app.listen(0, '127.0.0.1');
  const running = new RunningHttp(app, store, `http://127.0.0.1:${app.getHttpServer().address().port}`);
  Object.assign(running, { responses });
  return running;
}

export async function startMicroservice(
  metadata: Application,
): Promise<{ running: Running; client: ClientProxy }> {
  const store = new WatchedStore();
  const address = { host: '127.0.0.1', port: await freePort() };
  const app = await NestFactory.createMicroservice<MicroserviceOptions>(moduleOf(store, metadata), {
    ...options,
    transport: Transport.TCP,
    options: address,
  });
  closing.push(() => app.close());
  await app.listen();
  const client = ClientProxyFactory.create({ transport: Transport.TCP, options: address });
  closing.push(async () => client.close());
  await client.connect();
  return { running: new Running(app, store), client };
}

/** Starts an application that must fail to start, and returns the message of the error. */
export async function startError(metadata: ModuleMetadata): Promise<string> {
  try {
    const app = await NestFactory.create(rootModule(metadata), new ExpressAdapter(), options);
    closing.push(() => app.close());
    await app.init();
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('The application started, although it should not have.');
}

function moduleOf(store: WatchedStore, { locks, imports = [], ...metadata }: Application) {
  return rootModule({ ...metadata, imports: [LockModule.forRoot({ ...locks, store }), ...imports] });
}

const record = (message: unknown): void => {
  logged.push(String(message));
};
const logger: LoggerService = { log: () => {}, warn: record, error: record };
const options = { logger, abortOnError: false, forceCloseConnections: true };
