import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Logger } from '@nestjs/common';
import { LockLostError } from 'nestjs-locked';
import { serverOf } from '../../test/servers/stores.mjs';
import { connect, TTL } from './databases.mjs';
import { Facts } from './facts.mjs';
import { FakeClock } from '../../test/servers/fake-clock.mjs';

const HOUR = 3600;

/** @param stores any of postgres, mariadb and mongodb; by default all of them */
export async function run(stores) {
  Logger.overrideLogger(false);
  const facts = new Facts();
  for (const store of stores.length > 0 ? stores : ['postgres', 'mariadb', 'mongodb'])
    await underFakeClock(store, facts);
  return facts.conclude();
}

async function underFakeClock(store, facts) {
  const clock = await FakeClock.create();
  const server = await clock.over(() => serverOf(store).start());
  const applications = [];
  try {
    for (let i = 0; i < 2; i++) applications.push(await connect(server.url));
    const [holder, rival] = applications;
    const scene = { clock, holder, rival, url: server.url, note: facts.column(`${store} ${server.version}`) };
    await wrongClients(scene);
    await jumpForward(scene);
    await jumpBack(scene);
  } finally {
    for (const application of applications) await application.close();
    await server.stop();
    await clock.remove();
  }
}

/**
 * Checks applications on machines whose clocks are an hour off, since only the clock of the
 * database should count.
 */
async function wrongClients({ holder, url, note }) {
  for (const [words, hours] of [
    ['ahead', 1],
    ['behind', -1],
  ]) {
    const key = `wrong-${words}`;
    const occupied = await holder.locks.acquire(`${key}-occupied`);
    const before = await holder.locks.acquire(key);
    await before.release();
    const clock = await FakeClock.create();
    await clock.set(hours * HOUR);
    const client = fileURLToPath(new URL('wrong-client.mjs', import.meta.url));
    const env = { ...process.env, ...clock.env };
    const { stdout } = await promisify(execFile)(process.execPath, [client, url, key], { env });
    await clock.remove();
    const seen = JSON.parse(stdout);
    const after = await holder.locks.acquire(key);
    const of = `client whose clock is an hour ${words}:`;
    note(`${of} it is`, Math.round((seen.now - Date.now()) / 3_600_000) === hours, true);
    note(`${of} is refused a key that is held`, seen.refused, true);
    note(
      `${of} holds its own for the ttl, by the database's clock`,
      0 < seen.remaining && seen.remaining <= TTL,
      true,
    );
    note(`${of} renews and releases it`, seen.heldOn && seen.released, true);
    const tokens = [before.fencingToken, seen.token, after.fencingToken];
    note(
      `${of} its token is between those before and after`,
      tokens[0] < tokens[1] && tokens[1] < tokens[2],
      true,
    );
    await after.release();
    await occupied.release();
  }
}

async function jumpForward({ clock, holder, rival, note }) {
  const lock = await holder.locks.acquire('stolen');
  const guarded = await holder.locks.acquire('guarded');
  const unwanted = await holder.locks.acquire('unwanted');
  await holder.protect('stolen');
  await holder.writeFenced('stolen', lock.fencingToken);
  note('before any jump: a key that is held can be taken', await canTake(rival, 'stolen'), false);

  await clock.set(HOUR);
  const jumped = performance.now();
  const thief = await rival.locks.tryAcquire('stolen');
  note('an hour forward: a lease of 30 s, just taken, goes to another at once', thief !== null, true);
  note('... and both believe that they hold it', lock.held && thief.held, true);
  note('... with a larger token', thief.fencingToken > lock.fencingToken, true);
  note(
    '... fenced write of the new holder accepted',
    await rival.writeFenced('stolen', thief.fencingToken),
    true,
  );
  note(
    '... fenced write of the old holder accepted',
    await holder.writeFenced('stolen', lock.fencingToken),
    false,
  );

  await rival.locks.acquire('guarded');
  note('... commits of the old holder with lock.guard', await commits(holder, guarded), false);
  await once(lock.signal, 'abort', { signal: AbortSignal.timeout(TTL + 5_000) });
  note('... the old holder learns of it after', `${((performance.now() - jumped) / 1000).toFixed(1)} s`);
  note('... renewals of the new holder go on', await renews(thief), true);
  while (unwanted.held) await sleep(100);
  note(
    '... a lease that no other process took is lost as well',
    unwanted.loss instanceof LockLostError,
    true,
  );
  note('... and its key can be taken again', await canTake(rival, 'unwanted'), true);
}

/**
 * Sets the clock of the database, which jumpForward() has set an hour ahead, back to the right
 * time.
 */
async function jumpBack({ clock, holder, rival, note }) {
  const released = await holder.locks.acquire('released');
  await released.release();
  const alive = await holder.locks.acquire('alive');
  for (const key of ['crashed', 'abandoned'])
    await holder.store.acquire(key, 'a holder that is no more', TTL);
  const kept = await holder.locks.acquire('kept', { minHold: 20_000 });
  await kept.release();

  await clock.set(0);
  const again = await rival.locks.tryAcquire('released');
  note('an hour back: a key that was released is free', again !== null, true);
  note('... and its token is larger', again?.fencingToken > released.fencingToken, true);
  await again?.release();
  await rival.store.purge({ olderThan: 0 });
  const third = await rival.locks.acquire('released');
  note('... also after a purge', third.fencingToken > again?.fencingToken, true);
  await third.release();

  note('... a holder that lives holds on', alive.held, true);
  note('... its lease lasts, until it is renewed', await minutesLeft(rival, 'alive'));
  note('... the renewal succeeds', await renews(alive), true);
  note(
    '... after which the lease lasts its ttl again',
    (await minutesLeft(rival, 'alive')) === '0.5 min',
    true,
  );
  await alive.release();
  note('... and a release frees the key at once', await canTake(rival, 'alive'), true);

  note('... the lease of a holder that crashed lasts', await minutesLeft(rival, 'crashed'));
  note('... its key can be taken', await canTake(rival, 'crashed'), false);
  await rival.locks.admin.forceRelease('crashed', { reason: 'the clock was wrong' });
  note('... but after forceRelease', await canTake(rival, 'crashed'), true);
  note('... minHold of 20 s lasts', await minutesLeft(rival, 'kept'));

  await clock.set(HOUR + TTL / 1000 + 5);
  for (const key of ['abandoned', 'kept'])
    note(`when the hour has passed again: key "${key}" can be taken`, await canTake(rival, key), true);
}

async function commits(application, lock) {
  try {
    await application.inTransaction((transaction) => lock.guard(transaction));
    return true;
  } catch (error) {
    if (error instanceof LockLostError) return false;
    throw error;
  }
}

async function renews(lock) {
  try {
    await lock.extend();
    return true;
  } catch (error) {
    if (error instanceof LockLostError) return false;
    throw error;
  }
}

async function canTake({ locks }, key) {
  const lock = await locks.tryAcquire(key);
  await lock?.release();
  return lock !== null;
}

async function minutesLeft({ locks }, key) {
  const found = await locks.admin.inspect(key);
  return found.state === 'held' ? `${(found.holder.remaining / 60_000).toFixed(1)} min` : found.state;
}
