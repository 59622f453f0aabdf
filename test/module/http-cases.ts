import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { INestApplication } from '@nestjs/common';
import { LockModule } from '../../lib/index.js';
import { logs, rootModule } from './applications.js';
import { controllers } from './http-routes.js';
import { RecordingStore } from './recording-store.js';

/** Defines the tests of locked routes for one HTTP platform, such as Express or Fastify. */
export function httpCases(
  platform: string,
  create: (module: ReturnType<typeof rootModule>, options: object) => Promise<INestApplication>,
): void {
  const store = new RecordingStore();
  let app: INestApplication;
  let url = '';

  beforeAll(async () => {
    const module = rootModule({ imports: [LockModule.forRoot({ store })], controllers });
    app = await create(module, { logger: logs, abortOnError: false });
    await app.listen(0, '127.0.0.1');
    url = await app.getUrl();
  });
  beforeEach(() => {
    store.calls.length = 0;
  });
  afterAll(() => app.close());

  const post = (path: string, body: unknown = { amount: 3 }, role = 'admin'): Promise<Response> =>
    fetch(url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', role },
      body: JSON.stringify(body),
    });

  describe.each(['above', 'below'])(`on ${platform}, a route with its decorators %s @Locked()`, (place) => {
    it('B62 a locked route keeps params, pipes, guards, interceptors, status and headers', async () => {
      const response = await post(`/${place}/7?dry=yes`);
      expect(response.status).toBe(202);
      expect(response.headers.get('x-order')).toBe('yes');
      expect(await response.json()).toEqual({ data: { id: 7, dry: 'yes', order: 3, lock: 'order:7' } });
      expect(store.calls).toEqual(['acquire order:7', 'release order:7']);
    });

    it('B62 the guards of a locked route run before the lock, with the metadata of the handler', async () => {
      const response = await post(`/${place}/7`, { amount: 3 }, 'guest');
      expect(response.status).toBe(403);
      expect(await response.json()).toMatchObject({ message: 'ship is for admin' });
      expect(store.calls).toEqual([]);
    });

    it('B62 the pipes of a locked route run before the lock', async () => {
      expect((await post(`/${place}/seven`)).status).toBe(400);
      const response = await post(`/${place}/7`, { amount: 'many' });
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({ message: 'amount must be a number' });
      expect(store.calls).toEqual([]);
    });

    it('B63 a locked route answers with an error if its key is busy, and other keys are free', async () => {
      const held = await store.holdElsewhere('order:7');
      expect((await post(`/${place}/7`)).status).toBe(500);
      expect((await post(`/${place}/8`)).status).toBe(202);
      await held.release();
      expect((await post(`/${place}/7`)).status).toBe(202);
    });

    it('B62 a locked route can be an event stream', async () => {
      const response = await fetch(`${url}/${place}/events`);
      expect(response.headers.get('content-type')).toContain('text/event-stream');
      const text = await response.text();
      expect(text.match(/data: .*/g)).toEqual(['data: events', 'data: last']);
      expect(store.calls[0]).toBe('acquire events');
    });
  });

  it(`B68 on ${platform}, a route of a request-scoped controller runs under its lock`, async () => {
    const response = await fetch(`${url}/scoped/7`);
    expect(await response.json()).toEqual({ id: '7', lock: 'order:7' });
    expect(store.calls).toEqual(['acquire order:7', 'release order:7']);
  });
}
