import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Address } from './address.mjs';
import { SLACK, TTL } from './terms.mjs';

/**
 * Two servers of a database. `old` is the URL of the first writer, `next` is the URL of the
 * server that takes over.
 *
 * @typedef {{
 *   readonly version: string,
 *   readonly old: string,
 *   readonly next: string,
 *   demote(): Promise<unknown>,
 *   takeOver(): Promise<unknown>,
 *   listening?(processes: number): Promise<unknown>,
 *   stop(): Promise<unknown>,
 * }} Pair
 */

/**
 * What a run observed. `regrantedAfter`: milliseconds from the move of the address to the
 * first grant of the slowest instance. `failed`: the attempts, renewals and releases that
 * failed. `connections`: how many connections led to the old server. `refused`: how many of
 * these connections had statements refused as read-only. `mostRefusedOfOne`: the largest
 * number of refused statements on one connection. `kept`: how many instances never lost the
 * lock that they held all the time.
 *
 * @typedef {{
 *   granted: number,
 *   regrantedAfter: number,
 *   failed: string[],
 *   connections: number,
 *   refused: number,
 *   mostRefusedOfOne: number,
 *   rejectedWaits: string[],
 *   lost: string[],
 *   kept: number,
 *   overlaps: unknown[],
 *   exitCodes: unknown[],
 * }} Observations
 */

const instanceFile = fileURLToPath(new URL('instance.mjs', import.meta.url));

/**
 * Runs a switchover. Instances of an application take locks through one address. The server
 * behind the address turns read-only, and the address moves to another server, while every
 * connection stays open.
 *
 * @param {Pair} pair one of `PAIRS`
 * @param {string} type TypeORM's name of the database
 * @param {{ processes?: number }} options
 * @returns {Promise<Observations>}
 */
export async function switchOver(pair, type, { processes = 8 } = {}) {
  const address = await Address.of(pair.old);
  const { hostname: host, port, username, password, pathname } = new URL(address.url);
  const options = { type, host, port: Number(port), username, password, database: pathname.slice(1) };
  const instances = [];
  try {
    // Starts the instances one after the other, because the first one creates the table.
    for (let i = 1; i <= processes; i++) {
      const instance = new Instance(options, `instance ${i}`);
      instances.push(instance);
      await instance.first('ready');
    }
    await Promise.all(instances.map((instance) => instance.first('granted')));
    await pair.demote();
    await Promise.all(instances.map((instance) => instance.first('failed')));
    await pair.takeOver();
    address.leadTo(pair.next);
    const movedAt = Number(process.hrtime.bigint()) / 1e6;
    const limit = AbortSignal.timeout(TTL + SLACK);
    const regranted = await Promise.all(
      instances.map((instance) => instance.first('granted', ({ from }) => from > movedAt, limit)),
    );
    await pair.listening?.(processes);
    for (const instance of instances) instance.stop();
    const exitCodes = await Promise.all(instances.map(({ exitCode }) => exitCode));

    const events = instances.flatMap((instance) => instance.events);
    const of = (name) => events.filter(({ event }) => event === name);
    const left = address.connections.filter(
      (connection) => connection.port === Number(new URL(pair.old).port),
    );
    return {
      granted: of('granted').length,
      regrantedAfter: Math.max(...regranted.map(({ from }) => from - movedAt)),
      failed: of('failed').map(({ operation, message }) => `${operation}: ${message}`),
      connections: left.length,
      refused: left.filter(({ refused }) => refused > 0).length,
      mostRefusedOfOne: Math.max(...left.map(({ refused }) => refused)),
      rejectedWaits: of('rejected').map(({ message }) => message),
      lost: of('lost').map(({ key }) => key),
      kept: of('kept').filter(({ held, released }) => held && released).length,
      overlaps: overlapsOf(of('granted')),
      exitCodes,
    };
  } finally {
    await Promise.all(instances.map((instance) => instance.kill()));
    address.close();
  }
}

/** An application in a process of its own. */
class Instance {
  events = [];

  constructor(options, name) {
    this.name = name;
    this.child = fork(instanceFile, [JSON.stringify(options), name], { execArgv: [] });
    this.child.on('message', (event) => this.events.push(event));
    this.exitCode = once(this.child, 'exit').then(([code, signal]) => code ?? signal);
  }

  /**
   * Resolves to the first event with this name that `wanted` accepts. Rejects if the process
   * ends before such an event, or if the signal is aborted.
   */
  async first(name, wanted = () => true, signal) {
    for (;;) {
      const found = this.events.find((event) => event.event === name && wanted(event));
      if (found) return found;
      const ended = this.exitCode.then((code) => {
        throw new Error(`${this.name} ended (${code}) before it was ${name}`);
      });
      const late = () => {
        throw new Error(`${this.name} was not ${name} in time`, { cause: this.events.at(-1) });
      };
      await Promise.race([once(this.child, 'message', { signal }).catch(late), ended]);
    }
  }

  stop() {
    this.child.send('stop');
  }

  async kill() {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill('SIGKILL');
    await this.exitCode;
  }
}

/**
 * Returns pairs of grants of one key that are wrong: both holders believed to hold the lock at
 * the same time, or the later grant has no greater token.
 */
function overlapsOf(grants) {
  const overlaps = [];
  const last = new Map();
  for (const grant of grants.toSorted((a, b) => a.from - b.from)) {
    const before = last.get(grant.key);
    if (before && (before.until > grant.from || before.token >= grant.token)) overlaps.push([before, grant]);
    last.set(grant.key, grant);
  }
  return overlaps;
}
