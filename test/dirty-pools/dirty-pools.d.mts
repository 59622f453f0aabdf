export interface DirtyPoolResult {
  granted: number;
  /** How many connections were left dirty. */
  left: number;
  /** How many connections the pool has opened. */
  connections: number;
  failures: string[];
}

export function lockOnDirtyPools(run: { options: object; locks: number }): Promise<DirtyPoolResult[]>;
