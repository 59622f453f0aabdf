import { afterAll, beforeAll, describe, it } from '@jest/globals';
import { DataSource } from 'typeorm';
import { TypeOrmLockStore } from '../../../lib/stores/typeorm/index.js';
import { lockStoreConformance } from '../../../lib/testing/index.js';
import type { Target } from '../../servers/targets.js';
import { targetsAmong } from './fixture.js';

for (const { name, open } of targetsAmong('sqlite', 'postgres', 'mariadb', 'mysql', 'mysql56')) {
  describe(`TypeOrmLockStore on ${name}`, () => {
    let target: Target;
    let application: DataSource;

    beforeAll(async () => {
      target = await open();
      application = await new DataSource(target.options).initialize();
    });
    afterAll(async () => {
      await application.destroy();
      await target.dispose();
    });

    for (const { name: rule, run } of lockStoreConformance(() => new TypeOrmLockStore(application), {
      rounds: 5,
    }))
      it(rule, run);
  });
}
