/** One hold, as seen by its worker. */
export interface Hold {
  token: number;
  /**
   * The first and the last moment at which the worker believed in the lock, by the machine's
   * monotonic clock.
   */
  from: number;
  until: number;
}

/** The work of one worker in one run. */
export interface WorkReport {
  worker: string;
  holds: Hold[];
  /** Entries with the outcome that the worker knows; `none` means that it did not write. */
  writes: { id: string; outcome: 'acknowledged' | 'unknown' | 'refused' | 'none' }[];
  /**
   * Counts how single attempts on uncontended locks ended: `acquired`, or the name of the
   * error.
   */
  probes: Record<string, number>;
  errors: Record<string, number>;
}

/** A document that all workers read as a whole, change and write back. */
export interface Ledger {
  _id: string;
  value: number;
  token: number;
  entries: { id: string; token: number }[];
}

/** Violations that a lock has to prevent; each list has to be empty. */
export interface Findings {
  /** Holds that began before an earlier hold ended. */
  doubles: [Hold, Hold][];
  /** Holds whose token is not greater than the token before. */
  tokensThatDoNotGrow: [Hold, Hold][];
  /** Acknowledged entries that are missing. */
  lostUpdates: string[];
  /** Entries that occur twice, or that no worker can have made. */
  strangeEntries: string[];
  /** Entries after an entry with a greater token. */
  entriesOutOfOrder: string[];
  /** Ledgers whose count differs from the number of their entries. */
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
