interface Pair {
  readonly version: string;
  /** The URL of the writer, and of the server that takes over. */
  readonly old: string;
  readonly next: string;
  demote(): Promise<unknown>;
  takeOver(): Promise<unknown>;
  listening?(processes: number): Promise<unknown>;
  stop(): Promise<unknown>;
}

interface Observations {
  granted: number;
  /** Milliseconds from the move to the first grant of the instance that was last. */
  regrantedAfter: number;
  /** Of attempts, renewals and releases. */
  failed: string[];
  /**
   * How many led to the old server, on how many of them a statement was refused as read-only,
   * and on one at most.
   */
  connections: number;
  refused: number;
  mostRefusedOfOne: number;
  rejectedWaits: string[];
  lost: string[];
  /** How many instances have kept the lock that they held all the time. */
  kept: number;
  overlaps: unknown[];
  exitCodes: unknown[];
}

export function switchOver(pair: Pair, type: string, options?: { processes?: number }): Promise<Observations>;
