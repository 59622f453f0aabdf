// declarations.spec.ts compiles this application against the package's declarations.
import { Module } from '@nestjs/common';
import {
  LockContext,
  LockController,
  Locked,
  LockError,
  LockExceptionFilter,
  LockInterceptor,
  LockModule,
  LockService,
  LockStoreError,
  memoryStore,
  type Duration,
  type Lock,
} from 'nestjs-locked';
import { mongoStore, mongooseStore } from 'nestjs-locked/mongodb';
import { LockTestingModule } from 'nestjs-locked/testing';
import { typeOrmSessionStore, typeOrmStore } from 'nestjs-locked/typeorm';

declare const config: {
  duration(name: string): Duration | undefined;
  text(name: string): string | undefined;
};
declare const flag: boolean | undefined;
const ttl = config.duration('LOCK_TTL');
const text = config.text('LOCK_TEXT');

@Module({
  imports: [
    LockModule.forRoot({
      store: typeOrmStore({ table: text, schema: text, weak: flag, autoCreate: flag, dataSource: text }),
      ttl,
      wait: ttl,
      minHold: ttl,
      label: text,
      retry: ttl,
      stealAfter: ttl,
      reentrant: flag,
      enabled: flag,
      prefix: text,
      onLost: undefined,
      shutdownTimeout: ttl,
      purge: undefined,
      maxWaiters: { perKey: undefined, total: undefined },
      statusFile: text,
      name: text,
      isGlobal: flag,
      autoRenew: flag,
      renewEvery: undefined,
    }),
    LockModule.forRoot({
      store: memoryStore({ allowInProduction: flag }),
      autoRenew: undefined,
      renewEvery: ttl,
    }),
    LockModule.forRootAsync({
      useFactory: () => ({ store: mongoStore({ url: 'mongodb://localhost', databaseName: text }) }),
    }),
    LockModule.forRoot({
      store: mongooseStore({ connectionName: text, deleteUnusedAfter: ttl, weak: flag }),
    }),
    LockModule.forRoot({
      store: typeOrmSessionStore({ maxConnections: undefined, keepAlive: ttl, connection: undefined }),
    }),
    LockTestingModule.forRoot({ ttl, name: text }),
  ],
  controllers: [LockController({ guards: [], path: text, module: text })],
})
export class ApplicationModule {}

export const filter = new LockExceptionFilter({ status: undefined });
export const interceptor = LockInterceptor('key', { ttl, module: text, onLost: undefined });

export class Jobs {
  constructor(private readonly locks: LockService) {}

  @Locked({
    key: undefined,
    ttl,
    onBusy: undefined,
    onLost: undefined,
    module: text,
    once: undefined,
    reentrant: flag,
  })
  async report(): Promise<number | undefined> {
    return LockContext.current()?.fencingToken;
  }

  @Locked('tick', { once: 'tick', tickAhead: ttl })
  async tick(): Promise<void> {}

  async byHand(signal: AbortSignal | undefined): Promise<boolean> {
    const lock: Lock = await this.locks.acquire('key', {
      ttl,
      wait: ttl,
      signal,
      onLost: undefined,
      once: ttl,
    });
    await lock.extend(ttl);
    await lock.handOff({ ttl });
    await this.locks.run('key', () => 1, { signal, onLost: undefined, reentrant: flag });
    await this.locks.admin.list({ limit: undefined, after: text });
    return lock.release();
  }
}

export const errors: LockError[] = [
  new LockError('wrong'),
  new LockStoreError('failed', { cause: undefined, transient: flag }),
];
