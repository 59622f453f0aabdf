import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { TypeOrmLockStore } from '../../../lib/stores/typeorm/index.js';
import { Fixture, targetsAmong } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';

const HOUR = 3_600_000;

// SQLite is left out: it has no server, so that all processes use the clock of the machine.
for (const target of targetsAmong('postgres', 'mysql', 'mariadb', 'mysql56'))
  describe(`a client with a wrong clock, on ${target.name}`, () => {
    let fixture: Fixture;
    let store: TypeOrmLockStore;

    beforeAll(async () => {
      fixture = await Fixture.open(target);
      store = await fixture.store();
    });
    afterEach(() => void jest.restoreAllMocks());
    afterAll(() => fixture.dispose());

    function shiftClock(by: number): void {
      const { now } = Date;
      jest.spyOn(Date, 'now').mockImplementation(() => now() + by);
    }

    it.each([
      ['ahead', HOUR],
      ['behind', -HOUR],
    ])(
      "B34 the server decides about holder, expiry and token when the client's clock is an hour %s",
      async (_, by) => {
        const key = newKey();
        const before = tokenOf(await store.acquire(key, 'right', 60_000));
        shiftClock(by);
        expect(await store.acquire(key, 'wrong', 60_000)).toMatchObject({ acquired: false, reason: 'held' });
        expect(await store.renew(key, 'right', 60_000)).toBe(true);
        expect(await store.release(key, 'right')).toBe(true);
        const token = tokenOf(await store.acquire(key, 'wrong', 60_000));
        expect(token).toBeGreaterThan(before);

        jest.restoreAllMocks();
        const refused = await store.acquire(key, 'right', 60_000);
        expect(refused).toMatchObject({ acquired: false, reason: 'held', holder: { fencingToken: token } });
        const { remaining } = (refused as { holder: { remaining: number } }).holder;
        expect(remaining).toBeGreaterThan(0);
        expect(remaining).toBeLessThanOrEqual(60_000);
      },
    );
  });
