import { INTERNALS } from '../../../lib/lock-internals.js';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import type { DataSource } from 'typeorm';
import { LockService } from '../../../lib/lock.service.js';
import { TypeOrmLockStore } from '../../../lib/stores/typeorm/index.js';
import { newKey } from '../keys.js';
import { TcpProxy } from '../tcp-proxy.js';
import { Fixture, targetsAmong } from './fixture.js';

for (const target of targetsAmong('mysql', 'mariadb', 'mysql56'))
  describe(`replication through mysql2's pool cluster on ${target.name}`, () => {
    let fixture: Fixture;

    beforeAll(async () => {
      Logger.overrideLogger(false);
      fixture = await Fixture.open(target);
    });
    afterAll(() => fixture.dispose());

    async function replicated(replication: object) {
      const { host, port, username, password, database } = fixture.target.options as unknown as Record<
        string,
        unknown
      >;
      const proxy = await TcpProxy.open({ host: String(host), port: Number(port) });
      const master = { host: '127.0.0.1', port: proxy.port, username, password, database };
      const dataSource: DataSource = await fixture.dataSource({
        replication: { master, slaves: [], ...replication },
      });
      const store = new TypeOrmLockStore(dataSource);
      const locks = new LockService({ options: {}, openStore: () => store });
      await locks[INTERNALS].start();
      return { proxy, locks };
    }

    it('R2 a wait outlasts a cluster without a server, and is granted when the server is back', async () => {
      const { proxy, locks } = await replicated({ restoreNodeTimeout: 1_000 });
      proxy.refuse();
      proxy.cut();
      const waiting = locks.acquire(newKey(), { wait: '60s' });
      // The attempts fail with broken connections first, and later because the cluster
      // excludes the server.
      for (let takenOut = false; !takenOut;) {
        const [{ error }] = (await once(locks.events, 'storeError')) as [{ error: Error }];
        takenOut = /pool cluster of mysql2 has no server/.test(error.message);
      }
      proxy.heal();
      const lock = await waiting;
      expect(lock.held).toBe(true);
      expect(await lock.release()).toBe(true);
      await locks[INTERNALS].close();
      await proxy.close();
    });
  });
