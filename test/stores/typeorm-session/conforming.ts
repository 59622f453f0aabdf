import { afterAll, beforeAll, describe, it } from '@jest/globals';
import { lockStoreConformance } from '../../../lib/testing/index.js';
import type { ClientName } from '../typeorm/fixture.js';
import { SessionFixture, sessionStoreOver, sessionTargets } from './fixture.js';

/** Defines the conformance cases of session locks on each server. */
export function conform(client: ClientName): void {
  for (const target of sessionTargets())
    describe(`B3 session locks of ${target.name} over ${client}`, () => {
      let fixture: SessionFixture;

      beforeAll(async () => {
        fixture = await SessionFixture.open(target, client);
      });
      afterAll(() => fixture.dispose());

      // MariaDB lists session locks only if its performance schema is switched on, which
      // looking.spec.ts tests.
      const tells = target.name === 'postgres' || target.name === 'mysql';
      const rules = lockStoreConformance(
        () => sessionStoreOver(client, fixture.application, { maxConnections: 40 }),
        {
          without: tells ? ['leases'] : ['leases', 'inspect'],
        },
      );
      for (const { name, run } of rules) it(name, run);
    });
}
