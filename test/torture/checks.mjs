import { AFTERMATH, POLL, TAKE_OVER_SLACK, TTL } from './terms.mjs';

/**
 * Times are milliseconds on one clock. A hold has no `from` and `until` when the worker never
 * believed that it held the key.
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
 * Two workers that believed at the same time that they held one key. `until` is the last time
 * at which `held` was true.
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
 * A later holder without a greater token, or a token that was granted twice.
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
  // A grant whose answer came too late has no place in the order, but a token of its own.
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
 * In the fenced ledger, no write has an older token than the write before it, and each builds
 * on that write's value.
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
 * In the ledger without a fence, finds writes that do not build on the write before. One of
 * the two was carried out late, after the key had a new holder, as happens to a process that
 * is frozen between check and write. Its check must not be late.
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
 * How long the key of each killed worker stayed taken although other workers wanted it.
 *
 * The time of other faults and shortly after them does not count, nor does the time in which
 * the machine ran no worker (`lags`).
 *
 * @param {{
 *   kills: readonly Kill[],
 *   holds: readonly Hold[],
 *   wants: readonly Want[],
 *   disturbances: readonly Span[],
 *   lags: readonly Span[],
 *   slack?: number,
 * }} told
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
    if (!next || !waiting) return []; // No worker wanted the key.
    const span = { from: kill.at, until: next.grantedAt };
    // Another killed worker may have been granted the key without recording it.
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
      /** Whether a worker waited for the key when its holder was killed. */
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

/** The part of a span that the other spans cover, in milliseconds. */
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
