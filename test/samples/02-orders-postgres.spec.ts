import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { DataSource } from 'typeorm';
import type { Target } from '../servers/targets.js';
import { targetsAmong } from '../stores/typeorm/fixture.js';
import { PaymentProvider } from './02-payment-provider.js';
import { compileSample, SampleProcess } from './sample-process.js';

const sample = 'sample/02-orders-postgres';

for (const postgres of targetsAmong('postgres'))
  describe(sample, () => {
    const payments = new PaymentProvider();
    let target: Target;
    let reader: DataSource;
    const instances: SampleProcess[] = [];
    let first: string;
    let second: string;

    async function start(): Promise<string> {
      const { host, port, username, password, database } = target.options as unknown as Record<
        string,
        string
      >;
      const instance = new SampleProcess(sample, {
        PORT: '0',
        DATABASE_URL: `postgres://${username}:${password}@${host}:${port}/${database}`,
        PAYMENTS_URL: payments.url,
      });
      instances.push(instance);
      const [, address] = await instance.says(/^Listening on (.*)/);
      return address!;
    }

    async function createOrder(): Promise<number> {
      const answer = await fetch(`${first}/orders`, {
        method: 'POST',
        body: new URLSearchParams({ amount: '500' }),
      });
      return ((await answer.json()) as { id: number }).id;
    }

    const pay = (instance: string, id: number) =>
      fetch(`${instance}/orders/${id}/payment`, { method: 'POST' });
    const cancel = (instance: string, id: number) => fetch(`${instance}/orders/${id}`, { method: 'DELETE' });

    beforeAll(async () => {
      compileSample(sample);
      await payments.listen();
      target = await postgres.open();
      reader = await new DataSource(target.options).initialize();
      first = await start();
      second = await start();
    }, 120_000);

    afterEach(() => payments.reset());

    afterAll(async () => {
      for (const instance of instances) await instance.end('SIGKILL');
      payments.close();
      await reader?.destroy();
      await target?.dispose();
    });

    it('B11 the migrations create the tables once', async () => {
      const migrations = await reader.query('SELECT name FROM migrations ORDER BY id');
      expect(migrations.map(({ name }: { name: string }) => name.replace(/\d+$/, '')).toSorted()).toEqual([
        'CreateLocksTable',
        'CreateOrders',
      ]);
      expect(await reader.query('SELECT * FROM locks')).toEqual([]);
    });

    it('B60 payments of one order on two instances run one after the other, so it is charged once', async () => {
      const id = await createOrder();
      const answers = [pay(first, id)];
      await payments.asked(id);
      answers.push(pay(second, id));
      expect((await cancel(second, id)).status).toBe(409);
      payments.accept(id);

      for (const answer of await Promise.all(answers))
        expect(await answer.json()).toMatchObject({ id, status: 'paid' });
      expect(payments.requests).toEqual([id]);
    });

    it('B24 different orders are paid at the same time', async () => {
      const ids = [await createOrder(), await createOrder()];
      const answers = ids.map((id) => pay(first, id));
      // The charges of both orders arrive before the payment provider has answered one of
      // them.
      for (const id of ids) await payments.asked(id);
      for (const id of ids) payments.accept(id);

      expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([201, 201]);
    });

    it('B67 an order that is being paid can neither be cancelled nor paid again: 409 with Retry-After', async () => {
      const id = await createOrder();
      const paid = pay(first, id);
      await payments.asked(id);

      for (const busy of [await cancel(second, id), await pay(second, id)]) {
        expect(busy.status).toBe(409);
        expect(Number(busy.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
        expect(await busy.json()).toEqual({
          statusCode: 409,
          message: 'The resource is in use. Try again later.',
          error: 'Conflict',
        });
      }
      payments.accept(id);
      expect((await paid).status).toBe(201);
      const late = await cancel(second, id);
      expect([late.status, await late.json()]).toMatchObject([409, { message: 'The order is paid.' }]);
    });

    it('B38 each change is written with a greater token, and an older token is refused', async () => {
      const id = await createOrder();
      const paid = pay(first, id);
      await payments.asked(id);
      // Plays a later holder of the lock, which wrote its token while the payment's process
      // was frozen.
      await reader.query('UPDATE orders SET fence = 9007199254740991 WHERE id = $1', [id]);
      payments.accept(id);

      expect((await paid).status).toBe(409);
      expect(await reader.query('SELECT status FROM orders WHERE id = $1', [id])).toEqual([
        { status: 'open' },
      ]);
    });

    it('B12 SIGTERM lets the running payment finish and leaves no lock', async () => {
      const [id, other] = [await createOrder(), await createOrder()];
      const paid = pay(first, id);
      await payments.asked(id);
      const [stopping] = instances;
      stopping!.signal('SIGTERM');
      // Repeats the request until the stopping instance takes no more locks and refuses it.
      while ((await cancel(first, other)).ok);
      payments.accept(id);

      expect((await paid).status).toBe(201);
      await stopping!.exited;
      expect(await reader.query('SELECT key FROM locks WHERE expires_ms > 0')).toEqual([]);
      expect(await reader.query('SELECT last_outcome FROM locks WHERE key = $1', [`order:${id}`])).toEqual([
        { last_outcome: 'done' },
      ]);
    });
  });
