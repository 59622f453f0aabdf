import { setTimeout as sleep } from 'node:timers/promises';
import { Logger } from '@nestjs/common';
import { LockError } from 'nestjs-locked';
import { startGalera } from '../../test/servers/galera.mjs';
import { connect } from './databases.mjs';
import { Facts } from './facts.mjs';

const ROUNDS = 300;
/** How many callers compete on each node. */
const EACH = 3;
const SECONDS = 12;

/** Lets applications on three nodes compete for the same locks, and then kills nodes. */
export async function run() {
  Logger.overrideLogger(false);
  const facts = new Facts();
  const cluster = await startGalera(3);
  const note = facts.column(`MariaDB ${cluster.version}, 3 nodes`);
  const applications = [];
  try {
    for (const { url } of cluster.nodes) applications.push(await connect(url));
    await applications[0].dataSource.query('CREATE TABLE counters (id varchar(40) PRIMARY KEY, n int)');
    await applications[0].dataSource.query('CREATE TABLE writes (n int AUTO_INCREMENT PRIMARY KEY)');
    await sleep(500);
    await raceForNewKeys(applications, note);
    await raceForOneKey(applications, note);
    await countUnderLock(applications, note, 0);
    await countUnderLock(applications, note, 1);
    await commitLate(applications, note);
    const [first, second] = applications;
    await commitWhileTaken(first, second, note, 'another node');
    await commitWhileTaken(first, first, note, 'the same node', 0);
    await loseNodes(cluster, applications, note);
  } finally {
    await Promise.allSettled(applications.map((application) => application.close()));
    await cluster.stop();
  }
  return facts.conclude();
}

/** Lets all nodes insert the same row at once. */
async function raceForNewKeys(applications, note) {
  const seen = { none: 0, one: 0, more: 0, failures: 0, conflicts: await conflicts(applications) };
  for (let round = 0; round < ROUNDS; round++) {
    const { tokens, failures } = await race(applications, `new-${round}`);
    seen[['none', 'one'][tokens.length] ?? 'more']++;
    seen.failures += failures;
  }
  seen.conflicts = (await conflicts(applications)) - seen.conflicts;
  noteRaces(note, `${ROUNDS} races for a new key`, seen);
}

/** Lets all nodes update the same row at once; then the winner frees the row. */
async function raceForOneKey(applications, note) {
  const seen = { none: 0, one: 0, more: 0, failures: 0, conflicts: await conflicts(applications) };
  let last = 0;
  let growing = true;
  for (let round = 0; round < ROUNDS; round++) {
    const { tokens, failures } = await race(applications, 'one', { free: true });
    seen[['none', 'one'][tokens.length] ?? 'more']++;
    seen.failures += failures;
    for (const token of tokens.toSorted((a, b) => a - b)) {
      growing &&= token > last;
      last = token;
    }
  }
  seen.conflicts = (await conflicts(applications)) - seen.conflicts;
  noteRaces(note, `${ROUNDS} races for a key that was free again`, seen);
  note('... tokens grew from each to the next', growing, true);
}

async function race(applications, key, { free = false } = {}) {
  const contenders = applications.flatMap(({ store }, node) =>
    Array.from({ length: EACH }, (_, i) => ({ store, owner: `${key}-${node}-${i}` })),
  );
  const tries = await Promise.allSettled(
    contenders.map(({ store, owner }) => store.acquire(key, owner, 60_000)),
  );
  const won = tries.flatMap(({ value }, i) => (value?.acquired ? [{ ...value, ...contenders[i] }] : []));
  if (free) for (const { store, owner } of won) await store.release(key, owner);
  return {
    tokens: won.map(({ fencingToken }) => fencingToken),
    failures: tries.filter(({ status }) => status === 'rejected').length,
  };
}

/**
 * Returns how many changes a node has taken back because a change on another node came first.
 * If there were none, the nodes did not race.
 */
async function conflicts(applications) {
  let sum = 0;
  for (const { dataSource } of applications)
    for (const name of ['wsrep_local_cert_failures', 'wsrep_local_bf_aborts'])
      sum += Number((await dataSource.query(`SHOW STATUS LIKE '${name}'`))[0].Value);
  return sum;
}

function noteRaces(note, what, { none, one, more, failures, conflicts: between }) {
  note(`${what}: with more than one winner`, more, 0);
  note(`${what}: with one winner`, one);
  note(`${what}: with none, all were refused`, none);
  note(`${what}: attempts that failed with an error`, failures);
  note(`${what}: conflicts between nodes`, between);
}

/** Lets each node read and write a counter. Only the lock can prevent lost updates. */
async function countUnderLock(applications, note, syncWait) {
  const id = `counter-${syncWait}`;
  await applications[0].dataSource.query('INSERT INTO counters VALUES (?, 0)', [id]);
  await sleep(500);
  const believed = new Set();
  let overlaps = 0;
  let holds = 0;
  let failures = 0;
  const last = { token: 0 };
  let outOfOrder = 0;
  const work = async ({ locks, dataSource }) => {
    for (let i = 0; i < 60; i++) {
      const lock = await locks.acquire(id, { wait: 20_000, retry: 5 });
      believed.add(lock);
      if (believed.size > 1) overlaps++;
      if (lock.fencingToken <= last.token) outOfOrder++;
      last.token = lock.fencingToken;
      try {
        await addOne(dataSource, id, syncWait);
        holds++;
      } catch {
        failures++;
      } finally {
        believed.delete(lock);
        await lock.release();
      }
    }
  };
  await Promise.all(applications.map(work));
  const [{ n }] = await applications[0].dataSource.query('SELECT n FROM counters WHERE id = ?', [id]);
  const of = `${holds} increments under the lock, wsrep_sync_wait = ${syncWait}:`;
  note(`${of} times that two held it`, overlaps, 0);
  note(`${of} tokens out of order`, outOfOrder, 0);
  note(`${of} updates lost`, holds - n, ...(syncWait ? [0] : []));
  note(`${of} increments that failed with an error`, failures);
}

async function addOne(dataSource, id, syncWait) {
  const runner = dataSource.createQueryRunner();
  try {
    await runner.query(`SET SESSION wsrep_sync_wait = ${syncWait}`);
    const [{ n }] = await runner.query('SELECT n FROM counters WHERE id = ?', [id]);
    await runner.query('UPDATE counters SET n = ? WHERE id = ?', [n + 1, id]);
  } finally {
    await runner.query('SET SESSION wsrep_sync_wait = 0');
    await runner.release();
  }
}

/**
 * Commits under a guard while another node takes the lock, since a guard locks the row only on
 * its own node.
 */
async function commitLate([first, second], note) {
  const outcomes = { commits: 0, refused: 0, waited: 0 };
  for (let round = 0; round < 10; round++) {
    const lock = await first.locks.acquire(`guarded-${round}`, { ttl: 700, autoRenew: false });
    await first.dataSource
      .transaction(async (manager) => {
        await manager.query('INSERT INTO writes VALUES ()');
        await lock.guard(manager);
        await sleep(900);
        const taken = await second.store.acquire(`guarded-${round}`, 'thief', 60_000);
        if (!taken.acquired) outcomes.waited++;
      })
      .then(
        () => outcomes.commits++,
        () => outcomes.refused++,
      );
  }
  note(
    '10 guards, the lease runs out, another node takes the key before the commit: it had to wait',
    outcomes.waited,
  );
  note('... commits of the old holder that were refused', outcomes.refused);
  note('... commits of the old holder that came through', outcomes.commits);
}

/**
 * Lets a commit and the end of the lease coincide. Checks whether the next holder ever begins
 * before that commit and does not see it.
 */
async function commitWhileTaken(first, second, note, where, expected) {
  const LANES = 8;
  const TRIES = 25;
  const outcomes = { commits: 0, refused: 0, late: 0 };
  const seen = async (id) => {
    const runner = second.dataSource.createQueryRunner();
    try {
      await runner.query('SET SESSION wsrep_sync_wait = 1');
      return (await runner.query('SELECT 1 FROM counters WHERE id = ?', [id])).length > 0;
    } finally {
      await runner.query('SET SESSION wsrep_sync_wait = 0');
      await runner.release();
    }
  };
  const lane = async (number) => {
    for (let i = 0; i < TRIES; i++) {
      const key = `${where}-${number}-${i}`;
      const { fencingToken } = await first.store.acquire(key, 'old', 150);
      const began = performance.now();
      const committing = first.store
        .transaction(async (manager) => {
          await manager.query('INSERT INTO counters VALUES (?, 0)', [key]);
          if (!(await first.store.guard(manager, key, 'old', fencingToken))) throw new Error('refused');
          await sleep(150 - (performance.now() - began) + Math.random() * 12);
        })
        .then(
          () => true,
          () => false,
        );
      await sleep(120);
      while (!(await second.store.acquire(key, 'new', 60_000)).acquired);
      const before = await seen(key);
      const committed = await committing;
      outcomes[committed ? 'commits' : 'refused']++;
      if (committed && !before) outcomes.late++;
    }
  };
  await Promise.all(Array.from({ length: LANES }, (_, number) => lane(number)));
  const of = `${LANES * TRIES} commits with a guard while ${where} takes the key:`;
  note(`${of} came through`, outcomes.commits);
  note(`${of} were refused`, outcomes.refused);
  note(`${of} came through after the next holder had begun, which did not see them`, outcomes.late, expected);
}

async function loseNodes({ nodes }, applications, note) {
  const [first, second, third] = applications;
  const successes = [];
  let failures = 0;
  const end = performance.now() + SECONDS * 1000;
  const believed = new Set();
  let overlaps = 0;
  const work = async ({ locks }) => {
    while (performance.now() < end) {
      try {
        const lock = await locks.tryAcquire('busy', { wait: 1_000 });
        if (!lock) continue;
        believed.add(lock);
        if (believed.size > 1) overlaps++;
        await sleep(5);
        believed.delete(lock);
        await lock.release();
        successes.push(performance.now());
      } catch (error) {
        if (!(error instanceof LockError)) throw error;
        failures++;
        await sleep(20);
      }
    }
  };
  const working = Promise.all([first, second].map(work));
  await sleep(2_000);
  const fresh = await third.store.acquire('fresh', 'on the node that dies', 8_000);
  const killed = performance.now();
  await nodes[2].crash();
  await working;
  const gaps = successes.slice(1).map((at, i) => at - successes[i]);
  note('a node is killed while the others compete: holds of the others', successes.length);
  note('... times that two held the lock', overlaps, 0);
  note('... longest time without a hold', `${(Math.max(...gaps) / 1000).toFixed(1)} s`);
  note('... attempts that failed with an error', failures);
  const found = await first.store.inspect('fresh');
  note(
    '... a lock that the killed node had just granted is known to the others, with its token',
    found.holder?.fencingToken === fresh.fencingToken,
    true,
  );
  await sleep(Math.max(0, killed + 8_500 - performance.now()));
  const after = await first.store.acquire('fresh', 'survivor', 60_000);
  note(
    '... and free when its lease has run out, with a larger token',
    after.fencingToken > fresh.fencingToken,
    true,
  );

  await nodes[1].crash();
  await sleep(8_000);
  const alone = await first.store.acquire('alone', 'minority', 60_000).then(
    ({ acquired }) => (acquired ? 'granted' : 'refused'),
    ({ message }) => message,
  );
  note('two of three nodes killed: an acquisition on the last', alone);
}
