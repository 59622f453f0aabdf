import { EventEmitter } from 'node:events';
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { overlaps, tokensThatDoNotGrow } from './checks.mjs';
import { FaultProxy } from './fault-proxy.mjs';
import { History } from './history.mjs';
import { LagMeter } from './lag-meter.mjs';
import { planted } from './planted-bugs.mjs';
import { SeededRandom } from './seeded-random.mjs';
import { SYSTEMS } from './systems.mjs';
import { AFTERMATH, CROWD_TTL, KEYS, now, TTL, WORKERS } from './terms.mjs';
import { Torturer } from './torturer.mjs';
import { judge } from './verdict.mjs';
import { WorkerProcess } from './worker-process.mjs';

/** Milliseconds between two reads of the records of the workers. */
const PACE = 250;
const START_LIMIT = 90_000;
const PROBE_LIMIT = 30_000;
const STOP_LIMIT = 15_000;
const INTERRUPTS = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/**
 * Tortures one store and resolves to the results.
 *
 * @param options `store`; `seconds`: the longest duration; `seed`; `callers`: the number of
 * callers in each process that want different keys at once, in addition to the worker that
 * competes for three keys; `rounds`: the number of schedules; `short`: whether all faults come
 * equally often, with short pauses; `bug`: a planted bug, whose discovery ends the run
 * @param watch gets the state of the run a few times a second
 */
export async function torture(
  { store, seconds, seed, callers = 0, rounds, short = false, bug },
  watch = () => {},
) {
  const folder = await mkdtemp(join(tmpdir(), 'nestjs-locked-torture-'));
  const run = new Run({ store, seconds, seed, callers, rounds, short, bug, folder, watch });
  const interrupt = () => {
    run.abandon();
    rmSync(folder, { recursive: true, force: true });
    process.exit(130);
  };
  for (const signal of INTERRUPTS) process.on(signal, interrupt);
  try {
    return await run.toEnd();
  } finally {
    for (const signal of INTERRUPTS) process.off(signal, interrupt);
    await run.close();
    await rm(folder, { recursive: true, force: true });
  }
}

class Run {
  #history = new History();
  #hub = new EventEmitter();
  #lags = new LagMeter();
  #workers = [];
  #system;
  #torturer;
  #violations = [];
  #died = [];
  #phase = 'starting the database';
  #began = now();
  #foundAfter;

  constructor(options) {
    this.options = options;
  }

  async toEnd() {
    const { store, seconds, seed, rounds, short, bug } = this.options;
    this.#system = await SYSTEMS[store]();
    await this.#system.ledger.create(KEYS.flatMap((key) => [`${key}/plain`, `${key}/fenced`]));
    await this.#startWorkers();

    this.#enter('torture');
    const random = new SeededRandom(seed);
    this.#torturer = new Torturer({
      system: this.#system,
      workers: this.#workers,
      history: this.#history,
      hub: this.#hub,
      random,
      short,
      only: planted(bug).faults,
    });
    const from = now();
    const torturing = this.#torturer.torture(rounds);
    torturing.catch(() => {}); // A rejection is handled below, where the promise is awaited.
    await this.#readUntil(from + seconds * 1_000, from);
    this.#torturer.end();
    await torturing;
    const until = now();

    await this.#calmDown();
    await this.#stopWorkers();
    await this.#lookForLeftovers();
    return this.#result({ from, until });
  }

  /**
   * Kills the workers, because a frozen worker would not notice the end of its parent and go
   * on for good.
   */
  abandon() {
    for (const worker of this.#workers) worker.destroy();
  }

  async close() {
    this.abandon();
    this.#lags.end();
    this.#history.close();
    await Promise.all(this.#workers.map(({ proxy }) => proxy?.close()));
    await this.#system?.close();
  }

  async #startWorkers() {
    this.#enter('starting the workers');
    const { folder, bug, callers } = this.options;
    for (const name of WORKERS) {
      const proxy = this.#system.target && (await FaultProxy.open(this.#system.target));
      const settings = { ...this.#system.workerSettings(name, proxy?.port), bug, callers };
      const worker = new WorkerProcess({ name, folder, settings, history: this.#history });
      worker.proxy = proxy;
      worker.on('between', () => this.#hub.emit('between', worker));
      worker.on('died', (text) => this.#died.push({ check: 'crash', at: now(), text }));
      this.#workers.push(worker);
    }
    const watching = setInterval(() => this.#show(), PACE);
    try {
      await within(
        START_LIMIT,
        'the workers did not start',
        Promise.all(this.#workers.map((worker) => worker.start())),
      );
    } finally {
      clearInterval(watching);
    }
    if (this.#died.length > 0) throw new Error(this.#died[0].text);
  }

  /** Reads the records of the workers until the time is over or a planted bug is found. */
  async #readUntil(end, from) {
    while (now() < end && !this.#torturer.ended) {
      await sleep(Math.min(PACE, Math.max(1, end - now())));
      this.#history.read();
      this.#show();
      if (this.options.bug && this.#soFar().length > 0) {
        this.#foundAfter = now() - from;
        return;
      }
    }
  }

  #soFar() {
    const holds = [...this.#history.holds.values()];
    return [...overlaps(holds), ...tokensThatDoNotGrow(holds), ...this.#oddities()];
  }

  #oddities() {
    return this.#history.oddities.map(({ worker, at, what }) => ({
      check: 'worker',
      at,
      text: `${worker}: ${what}`,
    }));
  }

  /**
   * Checks after the last fault that each worker can take a lock, and that each key can be
   * taken.
   */
  async #calmDown() {
    this.#enter('calm');
    await within(START_LIMIT, 'a worker did not start again', this.#allRunning());
    const calmSince = now();
    // This pause is longer than the ttl, so the keys of killed workers are free again.
    await sleep(Math.max(AFTERMATH, 1.5 * TTL, this.options.callers > 0 ? 1.2 * CROWD_TTL : 0));
    const answers = await Promise.all(
      this.#workers.map(async (worker) => [worker, await worker.probe(PROBE_LIMIT)]),
    );
    for (const [{ id }, answer] of answers)
      if (!answer?.well)
        this.#blame(
          'stuck',
          `${id} cannot take a free lock after the last fault: ${answer?.error ?? 'no answer'}`,
        );
    const patience = now() + PROBE_LIMIT;
    let untouched = KEYS;
    while (untouched.length > 0 && now() < patience) {
      await sleep(PACE);
      this.#history.read();
      untouched = KEYS.filter((key) => !this.#takenSince(key, calmSince));
    }
    for (const key of untouched) this.#blame('stuck', `"${key}" was not taken any more after the last fault`);
  }

  #takenSince(key, since) {
    return [...this.#history.holds.values()].some((hold) => hold.key === key && hold.grantedAt > since);
  }

  async #allRunning() {
    while (this.#workers.some(({ state }) => state === 'starting' || state === 'frozen')) await sleep(50);
  }

  async #stopWorkers() {
    this.#enter('stopping the workers');
    await Promise.all(
      this.#workers.map(async (worker) => {
        const { id } = worker;
        if (!(await worker.stop(STOP_LIMIT)))
          this.#blame('exit', `${id} did not end by itself, and well, after SIGTERM`);
      }),
    );
    this.#history.read();
  }

  async #lookForLeftovers() {
    const { locks } = await this.#system.locks.list({ limit: 100 });
    for (const { key, label, fencingToken } of locks)
      this.#blame('left behind', `"${key}" is still held by ${label} (token ${fencingToken})`);
    const links = this.#workers.reduce((sum, { proxy }) => sum + (proxy?.open ?? 0), 0);
    if (links > 0) this.#blame('left behind', `${links} connections are open`);
    const sessions = (await this.#system.countSessions?.()) ?? 0;
    if (sessions > 0) this.#blame('left behind', `${sessions} sessions are open`);
  }

  async #result(span) {
    const { seed, short, bug, callers } = this.options;
    const { name, version, ledger } = this.#system;
    return {
      store: name,
      version,
      seed,
      short,
      callers,
      ...(bug && { bug, foundAfter: this.#foundAfter }),
      ...judge({
        span,
        history: this.#history,
        log: await ledger.log(),
        torturer: this.#torturer,
        lags: this.#lags,
        callers,
        seen: [...this.#violations, ...this.#died, ...this.#oddities()],
      }),
    };
  }

  #blame(check, text) {
    this.#violations.push({ check, at: now(), text });
  }

  #enter(phase) {
    this.#phase = phase;
    this.#show();
  }

  #show() {
    const { store, seconds, seed } = this.options;
    this.options.watch({
      store,
      seed,
      phase: this.#phase,
      elapsed: (now() - this.#began) / 1_000,
      seconds,
      workers: this.#workers.map(({ name, state }) => ({ name, state })),
      counts: { ...this.#history.counts },
      faults: this.#torturer?.faults.length ?? 0,
      present: this.#torturer?.present ?? [],
      violations: this.#violations.length + this.#died.length + this.#history.oddities.length,
    });
  }
}

async function within(limit, complaint, work) {
  const patience = new AbortController();
  const late = sleep(limit, undefined, { signal: patience.signal }).then(() => {
    throw new Error(`${complaint} within ${limit / 1_000} s`);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    patience.abort();
    late.catch(() => {});
  }
}
