import { AFTERMATH, POLL, TAKE_OVER_SLACK, TTL } from './terms.mjs';

/**
 * Times are milliseconds on the clock that all processes share. A hold has no `from` and
 * `until` if `held` was never true.
 *
 * @typedef {{
 *   id: string,
 *   worker: string,
 *   key: string,
 *   token: number,
 *   grantedAt: number,
 *   from?: number,
 *   until?: number,
 * }} Hold
 *
 * @typedef {{ id: string, worker: string, key: string, from: number, until: number }} Want
 *
 * @typedef {{
 *   id: string,
 *   hold: string,
 *   at: number,
 *   outcome?: 'accepted' | 'refused' | 'unknown' | 'unsent',
 * }} Write
 *
 * @typedef {{
 *   ledger: string,
 *   id: string,
 *   kind: 'plain' | 'claim' | 'fenced',
 *   token: number,
 *   value: number,
 * }} LogEntry
 *
 * @typedef {{ worker: string, key: string, token: number, at: number }} Kill
 *
 * @typedef {{ from: number, until: number }} Span
 *
 * @typedef {{ check: string, at: number | undefined, text: string }} Violation
 *
 * @typedef {Kill & {
 *   took: number,
 *   next: string,
 *   undisturbed: boolean,
 *   awaited: boolean,
 *   lag: number,
 *   tooLong: boolean,
 * }} TakeOver
 */

/**
 * Finds two workers that held the same key at the same time. `until` of a hold is the last
 * time at which `held` was true.
 *
 * @param {readonly Hold[]} holds
 * @returns {Violation[]}
 */
export function overlaps(holds) {
  return byKey(believed(holds)).flatMap((held) => {
    let longest;
    return held.flatMap((hold) => {
      const before = longest;
      if (!longest || hold.until > longest.until) longest = hold;
      if (!before || before.until <= hold.from) return [];
      const shared = Math.min(before.until, hold.until) - hold.from;
      return violation(
        'overlap',
        hold.from,
        `${name(before)} and ${name(hold)} both held "${hold.key}" for ${shared.toFixed(1)} ms`,
      );
    });
  });
}

/**
 * Finds holders whose token is not greater than that of the holder before them, and tokens
 * that were granted twice.
 *
 * @param {readonly Hold[]} holds
 * @returns {Violation[]}
 */
export function tokensThatDoNotGrow(holds) {
  const smaller = byKey(believed(holds)).flatMap((held) =>
    held
      .slice(1)
      .flatMap((hold, i) =>
        hold.token > held[i].token
          ? []
          : violation('token', hold.from, `${name(hold)} came after ${name(held[i])} on "${hold.key}"`),
      ),
  );
  // A hold whose grant came too late has no place in this order, but even its token must not
  // be granted twice.
  const seen = new Map();
  const repeated = holds.flatMap((hold) => {
    const place = `${hold.key} ${hold.token}`;
    const other = seen.get(place);
    seen.set(place, hold);
    return other
      ? violation(
          'token',
          hold.grantedAt,
          `${name(other)} and ${name(hold)} have the same token on "${hold.key}"`,
        )
      : [];
  });
  return [...smaller, ...repeated];
}

/**
 * Finds writes in the fenced ledger that have an older token than the write before, or do not
 * increment the value of the write before.
 *
 * @param {readonly LogEntry[]} log
 * @returns {Violation[]}
 */
export function brokenFence(log) {
  return ledgersOf(log, 'fenced').flatMap(({ ledger, entries }) => {
    let before = { token: 0, value: 0 };
    return entries.flatMap((entry) => {
      const { id, kind, token, value } = entry;
      const found = [];
      const step = kind === 'claim' ? 0 : 1;
      if (token < before.token)
        found.push(
          ...violation(
            'stale write accepted',
            undefined,
            `${ledger}: write ${id} has token ${token}, the one before ${before.token}`,
          ),
        );
      if (value !== before.value + step)
        found.push(
          ...violation(
            'lost update',
            undefined,
            `${ledger}: write ${id} made it ${value} after ${before.value}`,
          ),
        );
      before = entry;
      return found;
    });
  });
}

/**
 * Finds writes in the ledger without a fence that do not increment the value of the write
 * before. The older of the two writes was carried out late: its process was frozen between
 * check and write until the key had a new holder. That is no violation if the check came
 * before the new grant.
 *
 * @param {readonly LogEntry[]} log
 * @param {{ writes: ReadonlyMap<string, Write>, holds: ReadonlyMap<string, Hold> }} told
 * @returns {{ late: number, violations: Violation[] }}
 */
export function lateWrites(log, { writes, holds }) {
  const late = new Set();
  const violations = ledgersOf(log, 'plain').flatMap(({ ledger, entries }) => {
    let newest = entries[0];
    return entries.slice(1).flatMap((entry, i) => {
      const before = entries[i];
      const outOfOrder = entry.token < newest.token;
      const [older, newer] = outOfOrder ? [entry, newest] : [before, entry];
      if (!outOfOrder) newest = entry;
      if (!outOfOrder && entry.value === before.value + 1) return [];
      late.add(older.id);
      const checkedAt = writes.get(older.id)?.at;
      const next = holds.get(writes.get(newer.id)?.hold);
      if (checkedAt < next?.from) return [];
      return violation(
        'lost update',
        checkedAt,
        `${ledger}: write ${older.id} was checked when ${newer.id} held the key already`,
      );
    });
  });
  return { late: late.size, violations };
}

/**
 * Compares the answers that the workers got with the writes that were carried out.
 *
 * @param {readonly LogEntry[]} log
 * @param {ReadonlyMap<string, Write>} writes
 * @returns {Violation[]}
 */
export function wrongAnswers(log, writes) {
  const carriedOut = new Map();
  for (const { id } of log) carriedOut.set(id, (carriedOut.get(id) ?? 0) + 1);
  return [...writes.values()].flatMap(({ id, outcome, at }) => {
    const times = carriedOut.get(id) ?? 0;
    if (times > 1) return violation('write repeated', at, `write ${id} was carried out ${times} times`);
    if (outcome === 'accepted' && times === 0)
      return violation('write lost', at, `write ${id} was acknowledged, but is not there`);
    if (outcome === 'refused' && times === 1)
      return violation('write lost', at, `write ${id} was refused, but is there`);
    return [];
  });
}

/**
 * Measures how long the key of each killed worker stayed taken although other workers wanted
 * the key.
 *
 * Times during and shortly after other faults do not count. Times in which the machine was too
 * busy to run a worker (`lags`) do not count, either.
 *
 * @param {{ kills: readonly Kill[], holds: readonly Hold[], wants: readonly Want[],
 * disturbances: readonly Span[], lags: readonly Span[], slack?: number, }} told
 * @returns {TakeOver[]}
 */
export function takeOvers({ kills, holds, wants, disturbances, lags, slack = TAKE_OVER_SLACK }) {
  return kills.flatMap((kill) => {
    const next = earliest(holds, (hold) => hold.key === kill.key && hold.grantedAt > kill.at);
    const waiting = earliest(
      wants,
      (want) =>
        want.key === kill.key &&
        want.worker !== kill.worker &&
        want.from < next?.grantedAt &&
        want.until >= next?.grantedAt,
    );
    // A take-over can only be measured if another worker wanted the key.
    if (!next || !waiting) return [];
    const span = { from: kill.at, until: next.grantedAt };
    // Another killed worker may have got the key without recording it, which blocks the key
    // for one more ttl.
    const deaths = kills
      .filter(({ worker }) => worker !== kill.worker)
      .map(({ at }) => ({ from: at, until: at + TTL }));
    const aftermaths = disturbances.map(({ from, until }) => ({ from, until: until + AFTERMATH }));
    const disturbed = covered(span, [...aftermaths, ...deaths]);
    const took = next.grantedAt - kill.at;
    const patience = Math.max(TTL, waiting.from - kill.at) + POLL + slack;
    const lag = covered(span, lags);
    return {
      ...kill,
      took,
      next: next.id,
      undisturbed: disturbed === 0,
      /** Whether another worker was already waiting for the key when its holder was killed. */
      awaited: waiting.from <= kill.at,
      lag,
      tooLong: took - disturbed - lag > patience,
    };
  });
}

/**
 * @param {readonly TakeOver[]} found
 * @returns {Violation[]}
 */
export function lateTakeOvers(found) {
  return found
    .filter(({ tooLong }) => tooLong)
    .flatMap(({ worker, key, at, took }) =>
      violation(
        'take-over',
        at,
        `"${key}" of ${worker}, which was killed, was taken over only after ${took.toFixed(0)} ms`,
      ),
    );
}

/** Returns for how many milliseconds of a span at least one of the other spans is present. */
export function covered({ from, until }, spans) {
  let sum = 0;
  let end = from;
  for (const span of spans.toSorted((a, b) => a.from - b.from)) {
    const begin = Math.max(span.from, end);
    const last = Math.min(span.until, until);
    if (last <= begin) continue;
    sum += last - begin;
    end = last;
  }
  return sum;
}

function violation(check, at, text) {
  return [{ check, at, text }];
}

function name({ id, token }) {
  return `${id} (token ${token})`;
}

function believed(holds) {
  return holds.filter(({ from }) => from !== undefined).toSorted((a, b) => a.from - b.from);
}

function byKey(holds) {
  return [...grouped(holds, ({ key }) => key).values()];
}

function ledgersOf(log, kind) {
  return [...grouped(log, ({ ledger }) => ledger)]
    .filter(([ledger]) => ledger.endsWith(`/${kind}`))
    .map(([ledger, entries]) => ({ ledger, entries }));
}

function earliest(things, wanted) {
  return things
    .filter(wanted)
    .reduce(
      (first, thing) =>
        (thing.grantedAt ?? thing.from) < (first?.grantedAt ?? first?.from ?? Infinity) ? thing : first,
      undefined,
    );
}

function grouped(things, nameOf) {
  const groups = new Map();
  for (const thing of things) {
    const group = groups.get(nameOf(thing));
    if (group) group.push(thing);
    else groups.set(nameOf(thing), [thing]);
  }
  return groups;
}
