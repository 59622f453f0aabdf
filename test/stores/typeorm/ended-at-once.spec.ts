import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { LockStoreError } from '../../../lib/lock.errors.js';
import { SqlLockStore } from '../../../lib/stores/sql/index.js';
import type { Target } from '../../servers/targets.js';
import type { TestClient } from '../clients/client-kind.js';
import { pg } from '../clients/pg.js';
import { typeorm } from '../clients/typeorm.js';
import { newKey, tokenOf } from '../keys.js';
import { TcpProxy } from '../tcp-proxy.js';
import { targetsAmong } from './fixture.js';

for (const { name, open } of targetsAmong('postgres'))
  describe.each([pg, typeorm])(`$name on a ${name} that ends a session in its first packet`, (kind) => {
    let target: Target;
    let proxy: TcpProxy;
    let client: TestClient;
    let store: SqlLockStore<any>;
    beforeAll(async () => void (target = await open()));
    beforeEach(async () => {
      proxy = await TcpProxy.open(target.options as { host: string; port: number });
      const options = { ...target.options, host: '127.0.0.1', port: proxy.port } as typeof target.options;
      client = await kind.open({ ...target, options }, 3);
      store = new SqlLockStore(client.executor());
      tokenOf(await store.acquire(newKey(), randomUUID(), 60_000));
    });
    afterEach(async () => {
      await store.close();
      await client.close();
      await proxy.close();
    });
    afterAll(() => target.dispose());

    it('B27 the request fails with an unknown outcome, and the next request succeeds', async () => {
      proxy.cut();
      const key = newKey();
      // This request fails on the connection that was cut, so that the next request opens a
      // new one.
      await store.acquire(newKey(), randomUUID(), 60_000).catch(() => undefined);
      proxy.endNextSession();
      const owner = randomUUID();
      const failure = await store.acquire(key, owner, 60_000).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(LockStoreError);
      expect(failure).toMatchObject({ transient: true });
      tokenOf(await store.acquire(key, owner, 60_000, { resend: true }));
    });
  });
