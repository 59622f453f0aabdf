import type { RunRow } from './count-runs.mjs';

interface Hit {
  token: number;
  instance: { name: string };
}

export function objections(
  end: { runs: readonly RunRow[]; edition: number; lock?: { holder: string } },
  hits: { killed: Hit; frozen: Hit },
  beats: { seconds: number; twice: number },
): string[];
