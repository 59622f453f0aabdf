import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import { Client } from 'pg';
import { startStandby } from '../../test/servers/postgres-standby.mjs';
import { start } from '../../test/servers/postgres.mjs';
import { Address } from '../../test/switchover/address.mjs';
import { connect, TTL } from './databases.mjs';
import { Facts } from './facts.mjs';
import { FakeClock } from '../../test/servers/fake-clock.mjs';

/**
 * Lets a standby take over that lacks the last writes. In the first round its clock is right;
 * in the second round it is an hour behind.
 */
export async function run() {
  Logger.overrideLogger(false);
  const facts = new Facts();
  for (const behind of [0, 3600]) await failOver(behind, facts);
  return facts.conclude();
}

async function failOver(behind, facts) {
  const clock = await FakeClock.create();
  await clock.set(-behind);
  const primary = await start();
  let standby;
  const address = await Address.of(primary.url);
  const applications = [];
  try {
    const holder = await connect(address.url);
    applications.push(holder);
    standby = await (behind === 0 ? startStandby(primary) : clock.over(() => startStandby(primary)));
    const clocks = behind === 0 ? 'same clock' : 'standby an hour behind';
    const note = facts.column(`PostgreSQL ${primary.version}, ${clocks}`);

    await caughtUp(primary, standby);
    const old = await holder.locks.acquire('old');
    const parted = await holder.locks.acquire('parted');
    await parted.release();
    await holder.protect('new');
    await caughtUp(primary, standby);

    // Stops the process that sends changes to the standby, so that the standby falls behind
    // while the primary still answers.
    const sender = await query(primary.url, 'SELECT pid FROM pg_stat_replication');
    process.kill(sender[0].pid, 'SIGSTOP');
    const early = await holder.locks.acquire('new');
    const regained = await holder.locks.acquire('parted');
    note('a lock is granted that the standby has not heard of', early.held, true);

    const began = performance.now();
    await primary.crash();
    await query(standby.url, 'SELECT pg_promote()');
    address.leadTo(standby.url);
    note('the standby is promoted, the address leads to it, after', seconds(began));

    const rival = await connect(address.url);
    applications.push(rival);
    note(
      'a lock that was replicated is refused to others',
      (await rival.locks.tryAcquire('old')) === null,
      true,
    );
    const twice = await rival.locks.tryAcquire('new');
    note('the lock that was not is granted a second time', twice !== null, true);
    note('... and both believe that they hold it', early.held && twice.held, true);
    note('... with a larger token', twice.fencingToken > early.fencingToken, behind === 0);
    note('... fenced write of the second accepted', await rival.writeFenced('new', twice.fencingToken), true);
    note(
      '... fenced write of the first accepted',
      await holder.writeFenced('new', early.fencingToken),
      behind > 0,
    );
    const again = await rival.locks.tryAcquire('parted');
    note(
      'a key with an older token that was replicated: granted twice, with a larger token',
      again.fencingToken > regained.fencingToken,
      behind === 0,
    );
    note('... and that is larger than the replicated one', again.fencingToken > parted.fencingToken, true);

    await once(early.signal, 'abort', { signal: AbortSignal.timeout(TTL + 5_000) });
    note('the first holder learns of it after', seconds(began));
    note('the holder of the replicated lock holds on', old.held, true);
    note('... and can release it', await old.release(), true);
  } finally {
    for (const application of applications) await application.close();
    address.close();
    await standby?.stop();
    await primary.stop();
    await clock.remove();
  }
}

async function query(url, sql) {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

/** Waits until the standby has replayed all writes of the primary. */
async function caughtUp(primary, standby) {
  const [{ lsn }] = await query(primary.url, 'SELECT pg_current_wal_lsn() AS lsn');
  for (;;) {
    const [{ done }] = await query(standby.url, `SELECT pg_last_wal_replay_lsn() >= '${lsn}' AS done`);
    if (done) return;
    await sleep(50);
  }
}

const seconds = (began) => `${((performance.now() - began) / 1000).toFixed(1)} s`;
