/** A period in which a worker held the lock, as the worker saw it. */
export interface Hold {
  token: number;
  /**
   * The first and the last moment at which the worker regarded itself as the holder, by the
   * machine's monotonic clock.
   */
  from: number;
  until: number;
}

/** What one worker did during one run. */
export interface WorkReport {
  worker: string;
  holds: Hold[];
  /**
   * The entries of this worker, each with the outcome of its write as the worker knows it.
   * `none` means that the worker did not write.
   */
  writes: { id: string; outcome: 'acknowledged' | 'unknown' | 'refused' | 'none' }[];
  /**
   * The results of single attempts on keys that no other worker uses: `acquired`, or the name
   * of the error, each with its count.
   */
  probes: Record<string, number>;
  errors: Record<string, number>;
}

/** A document that all workers read, change and write back as a whole. */
export interface Ledger {
  _id: string;
  value: number;
  token: number;
  entries: { id: string; token: number }[];
}

/** What a lock has to prevent. Each list has to be empty. */
export interface Findings {
  /** Pairs of holds of which the second began before the first had ended. */
  doubles: [Hold, Hold][];
  /** Pairs of holds of which the second has no greater token than the first. */
  tokensThatDoNotGrow: [Hold, Hold][];
  /** Entries that the server acknowledged, but that are missing in the document. */
  lostUpdates: string[];
  /** Entries that occur twice, or that no worker has written. */
  strangeEntries: string[];
  /** Entries that follow an entry with a greater token. */
  entriesOutOfOrder: string[];
  /** Ledgers whose counter differs from the number of their entries. */
  wrongSums: string[];
}

export const nothingFound: Findings = {
  doubles: [],
  tokensThatDoNotGrow: [],
  lostUpdates: [],
  strangeEntries: [],
  entriesOutOfOrder: [],
  wrongSums: [],
};

/** The holds of all workers, in the order of their grants. */
export function holdsOf(reports: readonly WorkReport[]): Hold[] {
  return reports.flatMap(({ holds }) => holds).toSorted((a, b) => a.from - b.from);
}

export function writesOf(reports: readonly WorkReport[], ...outcomes: string[]): string[] {
  const writes = reports.flatMap((report) => report.writes);
  return writes.filter(({ outcome }) => outcomes.includes(outcome)).map(({ id }) => id);
}

export function findingsIn(reports: readonly WorkReport[], ledgers: readonly Ledger[]): Findings {
  const successions = pairsOf(holdsOf(reports));
  const made = ledgers.flatMap(({ entries }) => entries.map(({ id }) => id));
  const found = new Set(made);
  const possible = new Set(writesOf(reports, 'acknowledged', 'unknown'));
  return {
    doubles: successions.filter(([before, after]) => after.from <= before.until),
    tokensThatDoNotGrow: successions.filter(([before, after]) => after.token <= before.token),
    lostUpdates: writesOf(reports, 'acknowledged').filter((id) => !found.has(id)),
    strangeEntries: made.filter((id, i) => !possible.has(id) || made.indexOf(id) !== i),
    entriesOutOfOrder: ledgers
      .flatMap(({ entries }) => pairsOf(entries))
      .filter(([before, after]) => after.token <= before.token)
      .map(([, { id }]) => id),
    wrongSums: ledgers.filter(({ value, entries }) => value !== entries.length).map(({ _id }) => _id),
  };
}

function pairsOf<T>(list: readonly T[]): [T, T][] {
  return list.slice(1).map((after, i) => [list[i]!, after]);
}
