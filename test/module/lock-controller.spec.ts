import 'reflect-metadata';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Injectable, type CanActivate, type ExecutionContext, type INestApplication } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { LockController, LockModule, LockService, LockStoreError } from '../../lib/index.js';
import { rootModule } from './applications.js';
import { RecordingStore } from './recording-store.js';

@Injectable()
class AdminGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    return context.switchToHttp().getRequest().headers.authorization === 'admin';
  }
}

describe('LockController', () => {
  let app: INestApplication;
  let locks: LockService;
  let store: RecordingStore;
  let url: string;

  beforeAll(async () => {
    store = new RecordingStore();
    app = await NestFactory.create(
      rootModule({
        imports: [LockModule.forRoot({ store, prefix: 'app' })],
        controllers: [LockController({ guards: [AdminGuard], path: 'admin/locks' })],
        providers: [AdminGuard],
      }),
      { logger: false },
    );
    await app.listen(0, '127.0.0.1');
    url = `${await app.getUrl()}/admin/locks`;
    locks = app.get(LockService);
  });
  afterAll(() => app.close());

  async function request(method: string, path: string, body?: object, authorization = 'admin') {
    const headers = { authorization, 'content-type': 'application/json' };
    const response = await fetch(url + path, {
      method,
      headers,
      ...(body && { body: JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  it('B72 LockController refuses requests that its guards refuse', async () => {
    for (const [method, path] of [
      ['GET', ''],
      ['GET', '/key'],
      ['POST', '/key/release'],
      ['POST', '/key/pause'],
      ['DELETE', '/key/pause'],
      ['POST', '/purge'],
    ] as const)
      expect((await request(method, path, undefined, 'nobody')).status).toBe(403);
  });

  it('B72 a LockController without guards is refused at start', () => {
    expect(() => LockController({ guards: [] })).toThrow('needs guards');
    expect(() => LockController({} as never)).toThrow('needs guards');
    expect(() => LockController({ guards: [AdminGuard], route: 'x' } as never)).toThrow('"route"');
  });

  it('B70 LockController lists and inspects locks, even if their keys need encoding in a URL', async () => {
    const lock = await locks.acquire('orders/7 ä');
    const listed = await request('GET', '?limit=10');
    expect(listed).toMatchObject({ status: 200, body: { locks: [{ key: 'orders/7 ä' }] } });
    expect(JSON.stringify(listed.body)).not.toContain(lock.owner);
    expect(await request('GET', `/${encodeURIComponent('orders/7 ä')}`)).toMatchObject({
      status: 200,
      body: { state: 'held', holder: { fencingToken: lock.fencingToken } },
    });
    await lock.release();
    expect((await request('GET', '?limit=0')).status).toBe(400);
  });

  it('B71 LockController releases a lock if a reason is given', async () => {
    const lock = await locks.acquire('stuck');
    expect(await request('POST', '/stuck/release', {})).toMatchObject({
      status: 400,
      body: { message: expect.stringContaining('needs a reason') },
    });
    expect(lock.held).toBe(true);
    expect(await request('POST', '/stuck/release', { reason: 'the host is gone' })).toEqual({
      status: 200,
      body: { released: true },
    });
    expect(await locks.admin.isLocked('stuck')).toBe(false);
  });

  it('B72 LockController purges keys', async () => {
    await locks.run('used', () => {});
    expect((await request('POST', '/purge', {})).status).toBe(400);
    expect(await request('POST', '/purge', { olderThan: '1h' })).toEqual({
      status: 200,
      body: { purged: 0 },
    });
    expect((await request('POST', '/purge', { olderThan: 0 })).body.purged).toBeGreaterThan(0);
  });

  it('B73 LockController pauses and resumes keys', async () => {
    expect(await request('POST', '/job/pause')).toEqual({ status: 200, body: { paused: true } });
    expect(await locks.tryAcquire('job')).toBeNull();
    expect((await request('GET', '/job')).body).toMatchObject({ state: 'free', paused: true });
    expect(await request('DELETE', '/job/pause')).toEqual({ status: 200, body: { resumed: true } });
    await (await locks.acquire('job')).release();
  });

  it('B75 LockController answers 503 without details if the store fails', async () => {
    store.inspect = async () => {
      throw new LockStoreError('PostgreSQL at db.internal failed');
    };
    const { status, body } = await request('GET', '/key');
    expect(status).toBe(503);
    expect(JSON.stringify(body)).not.toContain('db.internal');
  });
});
