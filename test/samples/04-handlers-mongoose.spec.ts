import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ObjectId, type Collection } from 'mongodb';
import type { MongoLockStore } from '../../lib/stores/mongodb/index.js';
import { mongodbIsSelected, MongoFixture } from '../stores/mongodb/fixture.js';
import { compileSample, SampleProcess } from './sample-process.js';

const sample = 'sample/04-handlers-mongoose';
const busyAnswer = {
  statusCode: 423,
  message: 'The resource is in use. Try again later.',
  error: 'Locked',
};

interface Show {
  _id: string;
  seats: (string | null)[];
}

if (mongodbIsSelected())
  describe(sample, () => {
    const mongodb = new MongoFixture();
    const instances: SampleProcess[] = [];
    let shows: Collection;
    let locks: MongoLockStore;
    let first: string;
    let second: string;

    async function start(): Promise<string> {
      const { url, databaseName } = mongodb;
      const env = { PORT: '0', MONGODB_URL: url, MONGODB_DATABASE: databaseName };
      const instance = new SampleProcess(sample, env);
      instances.push(instance);
      const [, address] = await instance.says(/^Listening on (.*)/);
      return address!;
    }

    async function send(method: string, url: string, form: Record<string, string> = {}) {
      return fetch(url, { method, ...(method === 'POST' && { body: new URLSearchParams(form) }) });
    }

    async function createShow(): Promise<string> {
      const answer = await send('POST', `${first}/shows`, { title: 'The Cherry Orchard' });
      const { _id: id } = (await answer.json()) as Show;
      return id;
    }

    const book = (instance: string, id: string, guest: string, count: number) =>
      send('POST', `${instance}/shows/${id}/bookings/${guest}`, { count: String(count) });
    const cancel = (instance: string, id: string, guest: string) =>
      send('DELETE', `${instance}/shows/${id}/bookings/${guest}`);
    const seatsOf = async (id: string): Promise<(string | null)[]> => {
      const answer = await send('GET', `${second}/shows/${id}`);
      return ((await answer.json()) as Show).seats;
    };

    /** Holds the lock of a show, as another instance would, until `release()`. */
    async function hold(id: string): Promise<{ release(): Promise<boolean> }> {
      const key = `show:${id}`;
      const owner = new ObjectId().toHexString();
      expect(await locks.acquire(key, owner, 30_000)).toMatchObject({ acquired: true });
      return { release: () => locks.release(key, owner) };
    }

    beforeAll(async () => {
      compileSample(sample);
      await mongodb.create('shows');
      const client = await mongodb.client();
      shows = client.db(mongodb.databaseName).collection('shows');
      locks = await mongodb.store();
      first = await start();
      second = await start();
    }, 120_000);

    afterAll(async () => {
      for (const instance of instances) await instance.end('SIGKILL');
      await locks?.close();
      await mongodb.dispose();
    });

    it('B60 guests who book at once on two instances each get seats of their own, until the row is full', async () => {
      const id = await createShow();
      const answers = await Promise.all(
        Array.from({ length: 8 }, async (_, i) => {
          for (;;) {
            const answer = await book(i % 2 ? first : second, id, `guest${i}`, 2);
            // After status 423, the guest has waited too long for the lock and tries again.
            if (answer.status !== 423) return answer.status;
          }
        }),
      );

      expect(answers.toSorted((a, b) => a - b)).toEqual([201, 201, 201, 201, 201, 409, 409, 409]);
      const seats = await seatsOf(id);
      answers.forEach((status, i) =>
        expect(seats.filter((guest) => guest === `guest${i}`)).toHaveLength(status === 201 ? 2 : 0),
      );
    });

    it('B67 while the lock of a show is held, booking waits and cancelling is refused: 423 with Retry-After', async () => {
      const id = await createShow();
      const holder = await hold(id);
      const answers = await Promise.all([
        cancel(first, id, 'anna'),
        cancel(second, id.toUpperCase(), 'anna'),
        book(second, id, 'anna', 2),
      ]);
      for (const answer of answers) {
        expect(answer.status).toBe(423);
        expect(Number(answer.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
        expect(await answer.json()).toEqual(busyAnswer);
      }
      expect(await seatsOf(id)).toEqual(Array(10).fill(null));

      const waiting = book(first, id, 'anna', 2);
      expect((await cancel(second, id, 'anna')).status).toBe(423);
      await holder.release();
      expect((await waiting).status).toBe(201);
      expect(await seatsOf(id)).toEqual(['anna', 'anna', ...Array(8).fill(null)]);
    });

    it('B24 the lock of one show does not delay another show', async () => {
      const holder = await hold(await createShow());
      const other = await createShow();
      expect((await book(first, other, 'boris', 10)).status).toBe(201);
      expect((await cancel(second, other, 'boris')).status).toBe(200);
      expect(await seatsOf(other)).toEqual(Array(10).fill(null));
      await holder.release();
    });

    it('B38 each change is written with a greater token, and an older token is refused', async () => {
      const id = await createShow();
      const fence = async (): Promise<number> =>
        (await shows.findOne({ _id: new ObjectId(id) }))?.fence as number;
      const tokens = [await fence()];
      for (const change of [() => book(first, id, 'anna', 1), () => cancel(second, id, 'anna')]) {
        expect((await change()).ok).toBe(true);
        tokens.push(await fence());
      }
      expect(tokens).toEqual([0, expect.any(Number), expect.any(Number)]);
      expect(tokens[2]).toBeGreaterThan(tokens[1]!);

      // Plays a later holder of the lock, which wrote its token while the process of the next
      // booking was frozen.
      await shows.updateOne({ _id: new ObjectId(id) }, { $set: { fence: Number.MAX_SAFE_INTEGER } });
      const late = await book(first, id, 'boris', 1);
      expect([late.status, await late.json()]).toMatchObject([
        409,
        { message: 'Another request has changed the seats meanwhile.' },
      ]);
      expect(await seatsOf(id)).toEqual(Array(10).fill(null));
    });

    it('B12 SIGTERM leaves no lock behind', async () => {
      const id = await createShow();
      await book(first, id, 'anna', 1);
      for (const instance of instances) await instance.end('SIGTERM');
      expect(await locks.list({ limit: 10 })).toEqual({ locks: [] });
    });
  });
