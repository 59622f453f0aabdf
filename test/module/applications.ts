import 'reflect-metadata';
import { afterEach } from '@jest/globals';
import {
  Module,
  type INestApplicationContext,
  type LoggerService,
  type ModuleMetadata,
  type Type,
} from '@nestjs/common';
import { NestFactory } from '@nestjs/core';

/** The log lines of Nest and the library since the test began. */
export class RecordedLogs implements LoggerService {
  readonly lines: { level: string; context: string; message: string }[] = [];
  readonly log = this.#record('log');
  readonly warn = this.#record('warn');
  readonly error = this.#record('error');

  /** The messages of the lock module with this log context. */
  of(level: string, context = 'LockModule'): string[] {
    return this.lines
      .filter((line) => line.level === level && line.context === context)
      .map(({ message }) => message);
  }

  #record(level: string) {
    return (message: unknown, ...rest: unknown[]): void => {
      this.lines.push({ level, context: String(rest.at(-1)), message: String(message) });
    };
  }
}

export let logs = new RecordedLogs();

const running = new Set<INestApplicationContext>();

afterEach(async () => {
  for (const app of running) await stop(app);
  logs = new RecordedLogs();
});

export function rootModule(metadata: ModuleMetadata): Type {
  @Module(metadata)
  class AppModule {}
  return AppModule;
}

/** Starts a Nest application, and closes it after the test unless `stop` did so before. */
export async function start(metadata: ModuleMetadata): Promise<INestApplicationContext> {
  const app = await NestFactory.createApplicationContext(rootModule(metadata), {
    logger: logs,
    abortOnError: false,
  });
  return closeLater(app);
}

/** Starts an application whose start has to fail, and resolves to the error. */
export async function startError(metadata: ModuleMetadata): Promise<Error> {
  try {
    await start(metadata);
  } catch (error) {
    return error as Error;
  }
  throw new Error('The application started, although it should not have.');
}

export function closeLater<App extends INestApplicationContext>(app: App): App {
  running.add(app);
  return app;
}

export async function stop(app: INestApplicationContext): Promise<void> {
  if (running.delete(app)) await app.close();
}
