import { expect, it } from '@jest/globals';
import { TypeOrmLockStore } from '../../../lib/stores/typeorm/index.js';
import { newKey, tokenOf } from '../keys.js';
import { Fixture, targetsAmong } from './fixture.js';

for (const target of targetsAmong('sqlite')) {
  it("A1 an open transaction of the application does not reach the store's own connection on SQLite", async () => {
    const fixture = await Fixture.open(target);
    const application = await fixture.dataSource();
    const store = new TypeOrmLockStore(application);
    await store.prepare();
    const runner = application.createQueryRunner();
    await runner.startTransaction();
    await runner.release();
    const key = newKey();
    tokenOf(await store.acquire(key, 'owner', 60_000));
    expect(await (await fixture.store()).inspect(key)).toMatchObject({ state: 'held' });
    await store.close();
    await fixture.dispose();
  });

  it('A1 the start fails if prepareDatabase leaves a transaction open', async () => {
    const fixture = await Fixture.open(target);
    // The first start of a store gives the file its write-ahead log.
    await (await fixture.store()).close();
    let begins = false;
    const prepareDatabase = (connection: { exec(sql: string): void }) => {
      if (begins) connection.exec('BEGIN');
    };
    const application = await fixture.dataSource({ prepareDatabase });
    begins = true;
    await expect(new TypeOrmLockStore(application).prepare()).rejects.toMatchObject({
      name: 'LockStoreError',
      message: expect.stringMatching(/already in a transaction.*prepareDatabase/),
    });
    await fixture.dispose();
  });
}
