/** How often the ticks ran. */
export interface TickVerdict {
  ticks: number;
  once: number;
  twice: string[];
  missing: string[];
  /** By shift of the clock. */
  by: Record<string, number>;
}

export function runTicks(
  url: string,
  options: {
    shifts: readonly number[];
    every: number;
    ticks: number;
    kill?: number;
    jump?: { after: number; from: number; to: number };
    onRun?: (run: { tick: number; shift: number }) => void;
  },
): Promise<TickVerdict>;
