import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Db } from 'mongodb';
import { mongodbIsSelected, MongoFixture } from '../stores/mongodb/fixture.js';
import { HeldRequests, type HeldRequest } from './held-requests.js';
import { compileSample, SampleProcess } from './sample-process.js';

const sample = 'sample/03-cron-mongodb';

if (mongodbIsSelected())
  describe(sample, () => {
    const mongodb = new MongoFixture();
    const meter = new HeldRequests();
    const instances = new Map<string, SampleProcess>();
    const billed: number[] = [];
    let db: Db;

    async function start(name: string): Promise<void> {
      const instance = new SampleProcess(sample, {
        INSTANCE: name,
        MONGODB_URL: mongodb.url,
        MONGODB_DATABASE: mongodb.databaseName,
        METER_URL: meter.url,
      });
      instances.set(name, instance);
      await instance.says(/^Bills are written/);
    }

    /**
     * Resolves to the next run that waits for an answer of the meter, with the instance that
     * runs it.
     */
    async function nextRun(): Promise<{ reading: HeldRequest; name: string; instance: SampleProcess }> {
      const reading = await meter.next();
      const lock = await db.collection('locks').findOne({ _id: 'BillingJob.bill' as never });
      const instance = instances.get(lock?.label);
      if (!instance) throw new Error(`The meter was asked under the lock of ${lock?.label}.`);
      return { reading, name: lock?.label, instance };
    }

    function bill(reading: HeldRequest, amount: number): void {
      reading.answer(amount);
      billed.push(amount);
    }

    async function end(name: string, signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
      await instances.get(name)?.end(signal);
      instances.delete(name);
    }

    async function expectBilled(): Promise<void> {
      const bills = await db.collection<{ _id: number }>('bills').find().sort({ _id: 1 }).toArray();
      expect(bills).toMatchObject(billed.map((amount, i) => ({ _id: i + 1, amount })));
      const due = billed.reduce((sum, amount) => sum + amount, 0);
      expect(await db.collection('accounts').findOne()).toMatchObject({ due, bills: billed.length });
    }

    beforeAll(async () => {
      compileSample(sample);
      await meter.listen();
      await mongodb.create('accounts', 'bills');
      db = (await mongodb.client()).db(mongodb.databaseName);
      await start('first');
      await start('second');
    }, 120_000);

    afterAll(async () => {
      for (const instance of instances.values()) await instance.end('SIGKILL');
      meter.close();
      await mongodb.dispose();
    });

    it('B63 one instance writes a bill while the other skips', async () => {
      for (const amount of [1, 2, 3]) {
        const { reading, name } = await nextRun();
        const [other] = [...instances].filter(([otherName]) => otherName !== name);
        await other![1].says(new RegExp(`Lock "BillingJob.bill" is busy: held by ${name}`));
        expect(meter.others).toBe(0);
        bill(reading, amount);
      }
      const next = await nextRun();
      await expectBilled();
      bill(next.reading, 4);
    });

    it('B12 SIGTERM lets the run finish and releases the lock, so the other instance takes over', async () => {
      const { reading, name, instance } = await nextRun();
      instance.signal('SIGTERM');
      bill(reading, 5);
      await instance.exited;
      instances.delete(name);
      expect(await db.collection('bills').findOne({ _id: 5 as never })).toMatchObject({
        amount: 5,
        by: name,
      });
      expect(await db.collection('locks').findOne()).toMatchObject({
        last: { label: name, outcome: 'done' },
      });

      const next = await nextRun();
      expect(next.name).not.toBe(name);
      bill(next.reading, 6);
    });

    it('B28 the other instance takes over when the holder is killed', async () => {
      await start('third');
      const killed = await nextRun();
      await end(killed.name, 'SIGKILL');
      await killed.reading.over;

      const next = await nextRun();
      expect(next.name).not.toBe(killed.name);
      await expectBilled();
      expect(await db.collection('locks').findOne()).toMatchObject({
        last: { label: killed.name, outcome: 'failed' },
      });
      bill(next.reading, 7);
    });

    it('B28 an instance that was frozen for longer than the ttl writes nothing when it wakes', async () => {
      await start('fourth');
      const frozen = await nextRun();
      frozen.instance.signal('SIGSTOP');
      // The frozen instance reads this answer when it wakes up.
      frozen.reading.answer(1_000_000);

      const next = await nextRun();
      expect(next.name).not.toBe(frozen.name);
      bill(next.reading, 8);
      // A new run begins, so the bill of the previous run is written.
      const last = await nextRun();
      const lost = frozen.instance.says(/Lock "BillingJob.bill" .*lost/);
      frozen.instance.signal('SIGCONT');
      await lost;
      await end(frozen.name, 'SIGTERM');
      await expectBilled();
      bill(last.reading, 9);
    });
  });
