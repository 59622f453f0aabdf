// An application that waits for a key and then exits without closing its store. argv: the
// DataSource options as JSON, and the key.
import { TypeOrmLockStore } from 'nestjs-locked/typeorm';
import { DataSource } from 'typeorm';

const [options, key] = process.argv.slice(2);
const dataSource = await new DataSource(JSON.parse(options)).initialize();
const store = new TypeOrmLockStore(dataSource);
for (;;) {
  const answer = await store.acquire(key, 'owner', 60_000, { waiting: true });
  if (answer.queued) break;
}
await dataSource.destroy();
process.disconnect();
