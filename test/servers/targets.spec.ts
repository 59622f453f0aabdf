import { access } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { selectedStores, sqlTargets, type Target } from './targets.js';

describe('stores of this run', () => {
  it('a run selects at least one store', () => {
    expect(selectedStores.length).toBeGreaterThan(0);
  });
});

for (const { name, open } of sqlTargets()) {
  describe(`a target on ${name}`, () => {
    let target: Target;
    let app: DataSource;

    beforeAll(async () => {
      target = await open();
      app = await new DataSource(target.options).initialize();
    });
    afterAll(() => app.destroy());

    it('each target is a database of its own', async () => {
      await app.query('CREATE TABLE proof (id integer PRIMARY KEY)');
      const other = await open();
      const neighbour = await new DataSource(other.options).initialize();
      await expect(neighbour.query('SELECT * FROM proof')).rejects.toThrow(/proof/);
      await neighbour.destroy();
      await other.dispose();
    });

    if (name !== 'sqlite')
      it('a target accepts 200 sessions at the same time', async () => {
        const crowd = await new DataSource({
          ...target.options,
          poolSize: 200,
        } as DataSourceOptions).initialize();
        const runners = Array.from({ length: 200 }, () => crowd.createQueryRunner());
        const session = name === 'postgres' ? 'pg_backend_pid()' : 'connection_id()';
        const rows = await Promise.all(runners.map((runner) => runner.query(`SELECT ${session} AS id`)));
        await Promise.all(runners.map((runner) => runner.release()));
        await crowd.destroy();
        expect(new Set(rows.map(([{ id }]) => id)).size).toBe(200);
      });

    it('the database of a target is dropped when the target is disposed of, even with an open session', async () => {
      const { options } = target;
      await target.dispose();
      if (name === 'sqlite') await expect(access(options.database as string)).rejects.toThrow(/ENOENT/);
      else await expect(new DataSource(options).initialize()).rejects.toThrow(String(options.database));
    });
  });
}
