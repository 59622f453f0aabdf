// One instance of an application during a switchover. Its arguments are the options of its
// DataSource as JSON, and its name. It holds one lock all the time, and takes and releases
// other locks until its parent stops it. It reports every grant, failure and loss to its
// parent.
import { setTimeout as sleep } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import { LockService } from 'nestjs-locked';
import { TypeOrmLockStore } from 'nestjs-locked/typeorm';
import { DataSource } from 'typeorm';
import { KEYS, TTL } from './terms.mjs';

Logger.overrideLogger(false);
const [options, name] = [JSON.parse(process.argv[2]), process.argv[3]];
const dataSource = await new DataSource(options).initialize();
const store = new TypeOrmLockStore(dataSource);
const locks = new LockService({ options: { ttl: TTL, label: name }, openStore: () => store });
const internals = locks[Symbol.for('nestjs-locked: internals')];
await internals.start();

/** Milliseconds of the monotonic clock that all processes of the machine share. */
const now = () => Number(process.hrtime.bigint()) / 1e6;
const tell = (event, more = {}) => process.connected && process.send({ event, at: now(), ...more });
locks.events.on('storeError', ({ operation, error }) =>
  tell('failed', { operation, message: error.message }),
);
locks.events.on('renewFailed', ({ error }) => tell('failed', { operation: 'renew', message: error.message }));
locks.events.on('lost', ({ key }) => tell('lost', { key }));

const kept = await locks.acquire(`kept by ${name}`, { ttl: 10 * TTL, renewEvery: TTL / 2 });
const stopped = new AbortController();
process.on('message', () => stopped.abort());
// The instance disconnects when its work is done; the end of its parent disconnects it as
// well.
process.on('disconnect', () => process.exit());

/** Several callers run at once, so that the pool opens several connections. */
const caller = async (first) => {
  for (let round = first; !stopped.signal.aborted; round++) {
    const key = KEYS[round % KEYS.length];
    let lock;
    try {
      lock = await locks.acquire(key, { wait: '60s' });
    } catch (error) {
      tell('rejected', { message: String(error) });
      continue;
    }
    const from = now();
    await sleep(5);
    const until = lock.held ? now() : from;
    // A failed release is reported as the event `storeError`, and the lock expires after its
    // ttl.
    await lock.release().catch(() => {});
    tell('granted', { key, token: lock.fencingToken, from, until });
  }
};
const callers = [0, 1, 2].map(caller);
tell('ready');
await Promise.all(callers);
tell('kept', { held: kept.held, released: await kept.release() });
await internals.close();
await dataSource.destroy();
process.disconnect();
