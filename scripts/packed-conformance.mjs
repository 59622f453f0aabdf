// Runs the conformance suite of a packed package on its stores, in both of its builds:
//   node scripts/packed-conformance.mjs PACKAGE_FOLDER
// The folder is inside the checkout, so that Node finds the peer dependencies.
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const dist = join(resolve(process.argv[2]), 'dist');
const require = createRequire(import.meta.url);
const load = {
  esm: (entry) => import(pathToFileURL(join(dist, 'esm', entry)).href),
  cjs: async (entry) => require(join(dist, 'cjs', entry)),
};
const folder = mkdtempSync(join(tmpdir(), 'nestjs-locked-conformance-'));
try {
  for (const build of ['esm', 'cjs']) await check(build);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function check(build) {
  const { lockStoreConformance } = await load[build]('testing/index.js');
  const { MemoryLockStore } = await load[build]('index.js');
  const { fromBetterSqlite3, SqlLockStore } = await load[build]('stores/sql/index.js');
  // All stores share this memory, as they would share a database.
  const memory = new MemoryLockStore();
  const file = join(folder, `${build}.sqlite`);
  const stores = {
    memory: () => memory,
    sqlite: () => new SqlLockStore(() => fromBetterSqlite3(file)),
  };
  for (const [name, createStore] of Object.entries(stores)) {
    const cases = lockStoreConformance(createStore);
    const failures = [];
    for (const { name: title, run } of cases)
      await run().catch((error) => failures.push(`${title}: ${error.message}`));
    if (failures.length > 0)
      throw new Error(`conformance from the packed ${build}, ${name}:\n${failures.join('\n')}`);
    console.log(`conformance from the packed ${build}, ${name}: ${cases.length} cases`);
  }
}
