/** Times are milliseconds on one clock. */
export interface Hold {
  id: string;
  worker: string;
  key: string;
  token: number;
  grantedAt: number;
  /** Missing when the worker never believed that it held the key. */
  from?: number;
  until?: number;
}

export interface Want {
  id: string;
  worker: string;
  key: string;
  from: number;
  until: number;
}

export interface Write {
  id: string;
  hold: string;
  at: number;
  outcome?: 'accepted' | 'refused' | 'unknown' | 'unsent';
}

export interface LogEntry {
  ledger: string;
  id: string;
  kind: 'plain' | 'claim' | 'fenced';
  token: number;
  value: number;
}

export interface Kill {
  worker: string;
  key: string;
  token: number;
  at: number;
}

export interface Span {
  from: number;
  until: number;
}

export interface Violation {
  check: string;
  at: number | undefined;
  text: string;
}

export interface TakeOver extends Kill {
  took: number;
  heir: string;
  undisturbed: boolean;
  awaited: boolean;
  lag: number;
  tooLong: boolean;
}

export function overlaps(holds: readonly Hold[]): Violation[];
export function tokensThatDoNotGrow(holds: readonly Hold[]): Violation[];
export function brokenFence(log: readonly LogEntry[]): Violation[];
export function lateWrites(
  log: readonly LogEntry[],
  told: { writes: ReadonlyMap<string, Write>; holds: ReadonlyMap<string, Hold> },
): { late: number; violations: Violation[] };
export function wrongAnswers(log: readonly LogEntry[], writes: ReadonlyMap<string, Write>): Violation[];
export function takeOvers(told: {
  kills: readonly Kill[];
  holds: readonly Hold[];
  wants: readonly Want[];
  disturbances: readonly Span[];
  lags: readonly Span[];
}): TakeOver[];
export function lateTakeOvers(found: readonly TakeOver[]): Violation[];
