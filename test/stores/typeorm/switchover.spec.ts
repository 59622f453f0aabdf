import { INTERNALS } from '../../../lib/lock-internals.js';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { LockService } from '../../../lib/lock.service.js';
import { TypeOrmSessionLockStore } from '../../../lib/stores/typeorm/index.js';
import { Address } from '../../switchover/address.mjs';
import { PAIRS } from '../../switchover/pairs.mjs';
import { switchOver } from '../../switchover/switchover.mjs';
import { targetsAmong } from './fixture.js';

for (const { name } of targetsAmong('postgres', 'mariadb', 'mysql'))
  describe(`a switchover of ${name} that leaves connections to the old writer open`, () => {
    const type = name as keyof typeof PAIRS;
    let pair: Awaited<ReturnType<(typeof PAIRS)[typeof type]>>;
    let observed: Awaited<ReturnType<typeof switchOver>>;
    /** The address at which the session locks of this process reach the current writer. */
    let address: Address;
    const opened: { locks: LockService; dataSource: DataSource }[] = [];

    async function sessionLocks(): Promise<LockService> {
      const { hostname: host, port, username, password, pathname } = new URL(address.url);
      const place = { host, port: Number(port), username, password, database: pathname.slice(1) };
      const dataSource = await new DataSource({ type, ...place }).initialize();
      const store = new TypeOrmSessionLockStore(dataSource, { keepAlive: 200 });
      const locks = new LockService({ options: {}, openStore: () => store });
      opened.push({ locks, dataSource });
      await locks[INTERNALS].start();
      return locks;
    }

    beforeAll(async () => {
      Logger.overrideLogger(false);
      pair = await PAIRS[type]();
      address = await Address.of(pair.old);
    });
    afterAll(async () => {
      for (const { locks, dataSource } of opened) {
        await locks[INTERNALS].close();
        await dataSource.destroy();
      }
      address?.close();
      await pair?.stop();
    });

    it('R1 a session lock on the old writer is lost, and a waiter gets the key on the new writer', async () => {
      const [holder, waiter] = [await sessionLocks(), await sessionLocks()];
      const lock = await holder.acquire('session');
      const lost = once(holder.events, 'lost');
      const waiting = waiter.acquire('session', { wait: Infinity });
      const takeOver = async () => {
        await pair.takeOver();
        address.leadTo(pair.next);
      };
      observed = await switchOver({ ...pair, takeOver }, type, { processes: 3 });
      await lost;
      expect(lock.held).toBe(false);
      const next = await waiting;
      expect(next.held).toBe(true);
      expect(await holder.tryAcquire('session')).toBeNull();
      expect(await next.release()).toBe(true);
    });

    it('R1 a connection is closed at its first error, waits go on, and keys are granted again', () => {
      expect(observed).toMatchObject({ mostRefusedOfOne: 1, rejectedWaits: [], exitCodes: [0, 0, 0] });
      expect(observed.refused).toBeGreaterThan(0);
      // Each instance got a key within the ttl plus 5 s after the switchover. Otherwise the
      // test would have observed nothing.
      expect(observed.granted).toBeGreaterThan(3);
    });

    it('R1 the new writer renews held locks, and two instances never hold the same lock', () => {
      expect(observed).toMatchObject({ lost: [], kept: 3, overlaps: [] });
    });
  });
