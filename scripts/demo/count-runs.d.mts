export interface RunRow {
  token: number;
  instance: string;
  started: number;
  ended: number | null;
  accepted: boolean | 0 | 1;
  lost: boolean | 0 | 1;
}

export interface RunCounts {
  ticks: number;
  runs: number;
  doubles: number;
  missed: number;
  takeOvers: number;
  lost: number;
}

export function countBeats(beats: readonly { at: number }[]): { seconds: number; twice: number };

export function countRuns(rows: readonly RunRow[]): RunCounts;
