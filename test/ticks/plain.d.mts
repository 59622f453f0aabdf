export function runPlainTicks(
  url: string,
  options: { instances?: number; seconds: number; body: number },
): Promise<{ fired: number; ran: number; twice: string[]; missing: string[]; overlaps: number }>;

export function runPlainIntervals(
  url: string,
  options: { instances?: number; seconds: number; interval: number },
): Promise<{ fired: number; ran: number; shortest: number }>;
