import { afterAll, beforeAll, describe, it } from '@jest/globals';
import type { Collection } from 'mongodb';
import { MongoLockStore } from '../../../lib/stores/mongodb/index.js';
import { lockStoreConformance } from '../../../lib/testing/index.js';
import { SideBySide } from '../side-by-side.js';
import { MongoFixture, mongodbIsSelected, type drivers } from './fixture.js';

/** A combination of driver and options with which the conformance suite opens the store. */
export interface Variant {
  name: string;
  MongoClient: (typeof drivers)[number]['MongoClient'];
  weak: boolean;
}

/** Defines the conformance cases of the store, opened in several ways. */
export function conform(...ways: Variant[]): void {
  if (!mongodbIsSelected()) return;
  const variants = ways.map((variant) => ({ ...variant, fixture: new MongoFixture() }));
  const collections = new Map<string, Collection>();

  beforeAll(async () => {
    for (const { name, MongoClient, fixture } of variants)
      collections.set(name, await fixture.collection({}, MongoClient));
  });
  afterAll(async () => {
    for (const { fixture } of variants) await fixture.dispose();
  });

  const stores = new Map(
    variants.map(({ name, weak }) => [
      name,
      lockStoreConformance(() => new MongoLockStore(collections.get(name)!, { weak }), { rounds: 5 }),
    ]),
  );
  const sideBySide = new SideBySide(stores);
  for (const [name, cases] of stores)
    describe(`MongoLockStore with ${name}`, () => {
      for (const { name: rule } of cases) it(rule, () => sideBySide.keeps(name, rule));
    });
}
