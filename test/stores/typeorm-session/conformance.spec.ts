import { afterAll, beforeAll, describe, it } from '@jest/globals';
import { TypeOrmSessionLockStore } from '../../../lib/stores/typeorm/index.js';
import { lockStoreConformance } from '../../../lib/testing/index.js';
import { SessionFixture, sessionTargets } from './fixture.js';

for (const target of sessionTargets())
  describe(`TypeOrmSessionLockStore on ${target.name}`, () => {
    let fixture: SessionFixture;

    beforeAll(async () => {
      fixture = await SessionFixture.open(target);
    });
    afterAll(() => fixture.dispose());

    const tells = target.name === 'postgres' || target.name === 'mysql'; // MariaDB is told to in looking.spec.ts
    const rules = lockStoreConformance(
      () => new TypeOrmSessionLockStore(fixture.application, { maxConnections: 40 }),
      {
        without: tells ? ['leases'] : ['leases', 'inspect'],
      },
    );
    for (const { name, run } of rules) it(`B3 ${name}`, run);
  });
