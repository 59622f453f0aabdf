import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { DataSource } from 'typeorm';
import type { Target } from '../servers/targets.js';
import { targetsAmong } from '../stores/typeorm/fixture.js';
import { Instances } from './instances.js';

for (const { name, open } of targetsAmong('postgres', 'mariadb', 'mysql', 'mysql56'))
  describe(`session locks of several processes on ${name}`, () => {
    const instances = new Instances();
    let target: Target;
    let database: DataSource;

    beforeAll(async () => {
      target = await open();
      database = await new DataSource(target.options).initialize();
      await database.query('CREATE TABLE counter (value integer)');
      await database.query('INSERT INTO counter VALUES (0)');
    });
    afterEach(() => instances.killAll());
    afterAll(async () => {
      await database.destroy();
      await target.dispose();
    });

    const start = (label: string) => instances.start(target.options, label, 'session');

    it('B20 if several processes increment a counter under the lock, no increment gets lost', async () => {
      const all = await Promise.all(['a', 'b', 'c'].map(start));
      await Promise.all(all.map((instance) => instance.ask('count', { key: 'counter', times: 20 })));
      expect(await database.query('SELECT value FROM counter')).toEqual([{ value: 60 }]);
    });

    it('B57 when a process is killed, a waiter in another process gets its session lock', async () => {
      const [holder, next] = await Promise.all([start('holder'), start('next')]);
      const { fencingToken } = await holder.ask<{ fencingToken: number }>('acquire', { key: 'job' });
      const waiting = next.ask<{ fencingToken: number }>('acquire', { key: 'job', wait: '1h' });
      await holder.kill('SIGKILL');
      expect((await waiting).fencingToken).toBeGreaterThan(fencingToken);
      expect(await next.ask('held', { key: 'job' })).toBe(true);
    });

    it('B12 app.close() releases a session lock, and the process exits', async () => {
      const [holder, next] = await Promise.all([start('holder'), start('next')]);
      await holder.ask('acquire', { key: 'job' });
      const waiting = next.ask('acquire', { key: 'job', wait: '1h' });
      // The request rejects if the process exits before it has sent the answer.
      await holder.ask('close').catch(() => undefined);
      expect(await holder.ended).toMatchObject({ code: 0 });
      await waiting;
    });
  });
