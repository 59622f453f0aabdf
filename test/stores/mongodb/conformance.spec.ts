import { afterAll, beforeAll, describe, it } from '@jest/globals';
import type { Collection } from 'mongodb';
import { MongoLockStore } from '../../../lib/stores/mongodb/index.js';
import { lockStoreConformance } from '../../../lib/testing/index.js';
import { drivers, MongoFixture, mongodbIsSelected } from './fixture.js';

if (mongodbIsSelected()) {
  describe('MongoLockStore with weak locks', () => {
    const fixture = new MongoFixture();
    let collection: Collection;

    beforeAll(async () => {
      collection = await fixture.collection();
    });
    afterAll(() => fixture.dispose());

    const createStore = () => new MongoLockStore(collection, { weak: true });
    for (const { name: rule, run } of lockStoreConformance(createStore, { rounds: 3 })) it(rule, run);
  });

  for (const { name, MongoClient } of drivers) {
    describe(`MongoLockStore with ${name}`, () => {
      const fixture = new MongoFixture();
      let collection: Collection;

      beforeAll(async () => {
        collection = await fixture.collection({}, MongoClient);
      });
      afterAll(() => fixture.dispose());

      for (const { name: rule, run } of lockStoreConformance(() => new MongoLockStore(collection), {
        rounds: 5,
      }))
        it(rule, run);
    });
  }
}
