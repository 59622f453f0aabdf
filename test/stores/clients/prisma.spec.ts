import { afterAll, beforeAll, describe, it } from '@jest/globals';
import { fromPrisma, SqlLockStore } from '../../../lib/stores/sql/index.js';
import { lockStoreConformance, type ConformanceCase } from '../../../lib/testing/index.js';
import type { Target } from '../../servers/targets.js';
import { SideBySide } from '../side-by-side.js';
import { targetsAmong } from '../typeorm/fixture.js';
import { connect, prismaClientOf } from './prisma.js';

const opened: Target[] = [];
const applications = new Map<string, { prisma: any; end: () => Promise<void> }>();
const targets = targetsAmong('sqlite', 'postgres', 'mariadb');

beforeAll(async () => {
  for (const { name, open } of targets) {
    const target = await open();
    opened.push(target);
    const { adapter, end } = connect(target, 10);
    const PrismaClient = await prismaClientOf(target);
    applications.set(name, { prisma: new PrismaClient({ adapter }), end });
  }
});
afterAll(async () => {
  for (const { prisma, end } of applications.values()) {
    await prisma.$disconnect();
    await end();
  }
  for (const target of opened) await target.dispose();
});

const stores = new Map<string, ConformanceCase[]>();
for (const { name } of targets) {
  const createStore = () => new SqlLockStore(fromPrisma(applications.get(name)!.prisma));
  // MariaDB gets longer leases: on a slow machine, a lease of 200 ms could be stolen again
  // before the thief has read its token.
  const ttl = name === 'mariadb' ? 800 : 200;
  const cases = lockStoreConformance(createStore, { rounds: 3, ttl });
  stores.set(`SqlLockStore over Prisma on ${name}`, name === 'mariadb' ? cases.filter(isQuick) : cases);
}

/**
 * The case is left out for MariaDB, where Prisma renews 500 leases one by one, which takes too
 * long on a slow machine.
 */
function isQuick({ name }: ConformanceCase): boolean {
  return !name.includes('renews 500 leases');
}

const sideBySide = new SideBySide(stores);
for (const [store, cases] of stores)
  describe(store, () => {
    for (const { name } of cases) it(name, () => sideBySide.keeps(store, name));
  });
