import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { DataSource } from 'typeorm';
import { INTERNALS } from '../../../lib/lock-internals.js';
import type { Lock } from '../../../lib/lock.js';
import { LockService } from '../../../lib/lock.service.js';
import { SqlLockStore, type SqlExecutor } from '../../../lib/stores/sql/index.js';
import { sqlTargets, type Target } from '../../servers/targets.js';
import type { TestClient } from './client-kind.js';
import { clients } from './clients.js';
import { addKey, createHolders, stay } from './holders.mjs';

const ROUNDS = 2;

for (const { name, open } of sqlTargets())
  describe(`application transactions around and before locks on ${name}`, () => {
    let target: Target;
    let rival: Rival;
    /**
     * This connection counts the holders, independently of the client under test and of the
     * locks.
     */
    let witness: DataSource;
    beforeAll(async () => {
      target = await open();
      witness = await new DataSource(target.options).initialize();
      await createHolders(witness);
      await witness.query('CREATE TABLE work (id int)');
      rival = await Rival.start(target);
    });
    afterAll(async () => {
      await rival?.end();
      await witness.destroy();
      await target.dispose();
    });

    it('B40 the count of holders notices two workers without a lock', async () => {
      await addKey(witness, 'without a lock');
      let found: { failures: string[] } | undefined;
      await stay(witness, 'without a lock', async () => {
        rival.take('without a lock');
        await rival.taken();
        found = await rival.stop();
      });
      expect(found?.failures).toContain('Error: "without a lock" has 2 holders');
    });

    for (const kind of clients.filter(({ stores }) => stores.includes(name)))
      it(`B77 ${kind.name} and another process never hold the key at the same time, whichever transactions are open`, async () => {
        Logger.overrideLogger(false);
        const client = await kind.open(target);
        const key = kind.name;
        await addKey(witness, key);
        const holder = await Holder.open(client.executor(), witness, key);
        const situations = situationsOf(client, name, holder);
        rival.take(key);
        for (let round = 0; round < ROUNDS; round++)
          for (const situation of Object.values(situations)) await situation();
        const { granted, failures } = await rival.stop();
        await holder.close();
        await client.close();
        expect(failures).toEqual([]);
        expect(holder.granted).toBe(ROUNDS * Object.keys(situations).length);
        expect(granted).toBeGreaterThan(0);
      });
  });

/**
 * The process in which the client under test runs. It holds the key while its application
 * begins and ends transactions.
 */
class Holder {
  granted = 0;

  private constructor(
    private readonly service: LockService,
    private readonly witness: DataSource,
    private readonly key: string,
  ) {}

  static async open(executor: SqlExecutor, witness: DataSource, key: string): Promise<Holder> {
    const store = new SqlLockStore(executor);
    const options = { ttl: '10s', retry: { min: 5, max: 20 } } as const;
    const service = new LockService({ options, openStore: () => store });
    await service[INTERNALS].start();
    return new Holder(service, witness, key);
  }

  /**
   * Acquires the key inside `around`, and holds it until `around` has ended.
   *
   * @param around a transaction of the application that runs `inside` and then ends
   */
  async holdFromInside(around: (inside: () => Promise<void>) => Promise<unknown>): Promise<void> {
    let leave = (): void => undefined;
    let staying: Promise<void> | undefined;
    try {
      await around(async () => {
        const lock = await this.service.acquire(this.key, { wait: '60s' });
        const left = new Promise<void>((resolve) => (leave = resolve));
        await new Promise<void>((resolve, reject) => {
          staying = this.stay(lock, async () => {
            resolve();
            await left;
          });
          staying.catch(reject);
        });
      });
    } finally {
      leave();
      await staying;
    }
    if (!staying) throw new Error('the work of the transaction was not run');
    this.granted++;
  }

  private async stay(lock: Lock, work: () => Promise<void>): Promise<void> {
    try {
      await stay(this.witness, this.key, work);
    } finally {
      await lock.release();
    }
  }

  async close(): Promise<void> {
    await this.service[INTERNALS].close();
  }
}

/** The ways in which an application combines transactions with a lock. */
function situationsOf(
  client: TestClient,
  store: string,
  holder: Holder,
): Record<string, () => Promise<void>> {
  const planned = new Error('rolled back');
  const write = async (transaction: unknown): Promise<void> => {
    await client.query('SELECT id FROM work', transaction);
    // Nothing is written on SQLite, where one connection writes at a time, so that the lock
    // can be acquired inside the transaction.
    if (store !== 'sqlite') await client.query('INSERT INTO work VALUES (1)', transaction);
  };
  const fail = async (transaction: unknown): Promise<void> => {
    await Promise.resolve(client.query('SELECT 1 FROM missing_table', transaction)).catch(() => undefined);
  };
  const rollBack = (work: (transaction: unknown) => Promise<void>) =>
    client
      .transaction(async (transaction) => {
        await work(transaction);
        throw planned;
      })
      .catch((error: unknown) => error);

  return {
    'committed around it': () =>
      holder.holdFromInside((inside) =>
        client.transaction(async (transaction) => {
          await write(transaction);
          await inside();
        }),
      ),
    'rolled back around it': () =>
      holder.holdFromInside((inside) =>
        rollBack(async (transaction) => {
          await write(transaction);
          await inside();
        }),
      ),
    'aborted around it': () =>
      holder.holdFromInside((inside) =>
        rollBack(async (transaction) => {
          await write(transaction);
          await fail(transaction);
          await inside();
        }),
      ),
    'nested around it': async () => {
      if (!client.nested) return holder.holdFromInside((inside) => inside());
      return holder.holdFromInside((inside) =>
        client.transaction(async (outer) => {
          await write(outer);
          await client
            .nested?.(outer, async (inner) => {
              await write(inner);
              await inside();
              throw planned;
            })
            .catch(() => undefined);
        }),
      );
    },
    'committed, rolled back and aborted before it': async () => {
      await client.transaction(write);
      await rollBack(write);
      await rollBack(fail);
      await holder.holdFromInside((inside) => inside());
    },
    'left open before it': async () => {
      const cleanUp = await client.leaveDirty?.();
      // If the pool keeps connections in an open transaction, the acquisition waits until the
      // transactions have ended.
      await Promise.all([holder.holdFromInside((inside) => inside()), cleanUp?.()]);
    },
  };
}

/** Another process with another client, which tries to acquire the key of the holder. */
class Rival {
  private constructor(private readonly child: ChildProcess) {}

  static async start({ options }: Target): Promise<Rival> {
    const child = fork('test/stores/clients/rival.mjs', [JSON.stringify(options)], { execArgv: [] });
    const rival = new Rival(child);
    await rival.message();
    return rival;
  }

  /** Lets the process acquire and release the key again and again, until `stop`. */
  take(key: string): void {
    this.child.send({ action: 'take', key });
  }

  /**
   * Resolves when the process has acquired and released the key, or has failed to acquire it.
   */
  async taken(): Promise<void> {
    this.child.send({ action: 'tell' });
    await this.message();
  }

  async stop(): Promise<{ granted: number; failures: string[] }> {
    const result = this.message();
    this.child.send({ action: 'stop' });
    return (await result) as { granted: number; failures: string[] };
  }

  async end(): Promise<void> {
    const ended = once(this.child, 'exit');
    this.child.send({ action: 'end' });
    await ended;
  }

  private async message(): Promise<unknown> {
    const ended = once(this.child, 'exit').then(([code]) => {
      throw new Error(`the other process ended with exit code ${code}`);
    });
    const [message] = await Promise.race([once(this.child, 'message'), ended]);
    ended.catch(() => undefined);
    return message;
  }
}
