import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { AFTERMATH, POLL, TAKE_OVER_SLACK, TTL } from './terms.mjs';

/**
 * The faults of workers, links and servers. `strike` does the damage and repairs it. It
 * resolves to a text about the fault, or to nothing if there was no victim. `weight` says how
 * often the fault comes in one schedule. With `alone`, no other fault runs at the same time.
 * `needs` names a feature without which the system does not get the fault.
 */
export const FAULTS = {
  'SIGSTOP between check and write': {
    weight: 4,
    async strike({ hub, random, live }) {
      if (live().length === 0) return undefined;
      // The stop is longer than the ttl, so the worker loses its lock.
      const duration = random.between(1.3, 3) * TTL;
      const signal = AbortSignal.timeout(3_000);
      const [worker] = await once(hub, 'between', { signal }).catch(() => []);
      if (worker?.state !== 'running') return undefined;
      await worker.freezeItself(duration);
      return `${worker.name} for ${duration.toFixed(0)} ms`;
    },
  },

  SIGSTOP: {
    weight: 3,
    async strike({ system, random, some }) {
      const workers = await some();
      const duration = random.between(0.2, 3) * TTL;
      // Workers on SQLite stop themselves between two statements, since a process that is
      // stopped inside a write would block all others.
      if (!system.target) await Promise.all(workers.map((worker) => worker.freezeItself(duration)));
      else {
        for (const worker of workers) worker.freeze();
        await sleep(duration);
        for (const worker of workers) worker.thaw();
      }
      return told(workers, `for ${duration.toFixed(0)} ms`);
    },
  },

  'SIGSTOP behind a slow link': {
    weight: 2,
    needs: 'target',
    /**
     * Over a slow link, a request is mostly under way when the process is stopped, so its
     * answer has to wait until the process goes on.
     */
    async strike({ random, holder }) {
      const worker = await holder();
      if (!worker) return undefined;
      const latency = random.between(50, 200) / 2; // Requests and answers get this delay each.
      const duration = random.between(0.8, 1.8) * TTL;
      worker.proxy.delay(latency);
      await sleep(random.between(0.2, 0.6) * TTL);
      if (worker.state === 'running') {
        worker.freeze();
        await sleep(duration);
        worker.thaw();
      }
      worker.proxy.delay(0);
      return `${worker.name} for ${duration.toFixed(0)} ms, by ${(2 * latency).toFixed(0)} ms`;
    },
  },

  'kill -9 of a holder': {
    weight: 2,
    alone: true,
    async strike({ random, holder, kill, history }) {
      // This pause lets the effects of earlier faults end, since the take-over after the kill
      // is measured.
      await sleep(AFTERMATH + random.between(0, 200));
      const worker = await holder();
      if (!worker) return undefined;
      const killed = kill(worker);
      const patience = performance.now() + TTL + POLL + TAKE_OVER_SLACK + AFTERMATH;
      while (performance.now() < patience && !killed.every((hold) => takenOver(hold, history))) {
        await sleep(50);
        history.read();
      }
      void worker.start();
      return worker.name;
    },
  },

  'kill -9': {
    weight: 1,
    async strike({ random, live, kill }) {
      const candidates = live();
      if (candidates.length === 0) return undefined;
      const worker = random.pick(candidates);
      kill(worker);
      await sleep(random.between(0, TTL));
      void worker.start();
      return worker.name;
    },
  },

  cut: {
    weight: 2,
    needs: 'target',
    async strike({ some }) {
      const workers = await some();
      for (const { proxy } of workers) proxy.cut();
      return told(workers);
    },
  },

  'cut before the answer': {
    weight: 2,
    needs: 'target',
    async strike({ random, some }) {
      const workers = await some();
      for (const { proxy } of workers) proxy.loseAnswers(true);
      await sleep(random.between(50, 400));
      for (const { proxy } of workers) proxy.loseAnswers(false);
      return told(workers);
    },
  },

  delay: {
    weight: 2,
    needs: 'target',
    async strike({ random, some }) {
      const workers = await some();
      const latency = random.between(50, 600) / 2; // Requests and answers get this delay each.
      for (const { proxy } of workers) proxy.delay(latency);
      await sleep(random.between(0.5, 2.5) * TTL);
      for (const { proxy } of workers) proxy.delay(0);
      return told(workers, `by ${(2 * latency).toFixed(0)} ms`);
    },
  },

  'black hole': {
    weight: 3,
    needs: 'target',
    async strike({ random, some }) {
      const workers = await some();
      const duration = random.between(0.2, 2) * TTL;
      for (const { proxy } of workers) proxy.blackHole(true);
      await sleep(duration);
      const lost = random.chance(0.5);
      if (lost) for (const { proxy } of workers) proxy.cut();
      for (const { proxy } of workers) proxy.blackHole(false);
      return told(workers, `for ${duration.toFixed(0)} ms, then ${lost ? 'cut' : 'late'}`);
    },
  },

  'dirty connections': {
    weight: 2,
    needs: 'pools',
    /**
     * Leaves connections with open transactions in the pool. A store that does not check its
     * connections would write its locks into such a transaction.
     */
    async strike({ some }) {
      const workers = await some();
      const left = await Promise.all(workers.map((worker) => worker.leaveDirty()));
      const connections = left.reduce((sum, count) => sum + count, 0);
      return connections === 0 ? undefined : told(workers, `left ${connections} connections`);
    },
  },

  'sessions ended by the server': {
    weight: 2,
    needs: 'disturb',
    onServer: true,
    async strike({ system, random }) {
      await system.disturb(random, random.pick([0.2, 0.5, 1]));
      return '';
    },
  },

  'demoted server': {
    weight: 2,
    needs: 'demote',
    onServer: true,
    /**
     * Lets the server refuse writes but serve reads while its sessions stay open, as in a
     * switchover. Afterwards the server accepts writes for at least one ttl before the next
     * fault.
     */
    async strike({ system, random }) {
      const duration = random.between(0.3, 2.5) * TTL;
      await system.demote();
      try {
        await sleep(duration);
      } finally {
        await system.promote();
      }
      await sleep(random.between(1, 2) * TTL);
      return `for ${duration.toFixed(0)} ms`;
    },
  },

  'crash of the database': {
    weight: 1,
    needs: 'crash',
    onServer: true,
    async strike({ system, random }) {
      await system.crash();
      await sleep(random.between(0, TTL));
      await system.restart();
      return '';
    },
  },
};

/**
 * The fault that causes stale writes. A run without a stale write proves nothing about the
 * fence.
 */
export const PROVING = 'SIGSTOP between check and write';

const SHORTEST = 8;

/**
 * Returns the faults of one schedule: those in `only` that the system supports. Each fault
 * comes as often as its weight says; in a short schedule, all faults come equally often.
 */
export function deckFor(system, { short, only = Object.keys(FAULTS) }) {
  const kinds = Object.entries(FAULTS).filter(
    ([kind, { needs }]) => only.includes(kind) && (!needs || system[needs]),
  );
  const often = Math.ceil(SHORTEST / kinds.length);
  return kinds.flatMap(([kind, { weight }]) => Array(short ? often : weight).fill(kind));
}

function takenOver({ key, token }, { holds }) {
  return [...holds.values()].some((hold) => hold.key === key && hold.token > token);
}

function told(workers, how = '') {
  return workers.length === 0 ? undefined : `${workers.map(({ name }) => name).join(' ')} ${how}`.trim();
}
