import type { LockRecord } from '../interfaces/lock-record.interface.js';
import { type Column, printable } from './text-table.js';

/** The columns of `list` and `watch`. */
export const LOCK_COLUMNS: readonly Column<LockRecord>[] = [
  { title: 'KEY', of: ({ key }) => printable(key) },
  { title: 'LABEL', of: ({ label }) => printable(label ?? '-') },
  { title: 'SINCE', of: ({ startedAt }) => timeText(startedAt) },
  { title: 'UNTIL', of: ({ expiresAt }) => (expiresAt ? timeText(expiresAt) : 'never') },
  { title: 'LEFT', of: ({ remaining }) => spanText(remaining), align: 'right' },
  { title: 'TOKEN', of: ({ fencingToken }) => String(fencingToken), align: 'right' },
];

/**
 * A time of the database's clock as text, in UTC, since instances may differ in their time
 * zones.
 */
export function timeText(time: Date): string {
  return time.toISOString().replace('T', ' ').replace(/\.\d+/, '');
}

/** Writes a length of time in its two largest units, such as `1h5m`. */
export function spanText(ms: number): string {
  if (ms === Infinity) return 'endless';
  const seconds = Math.max(ms, 0) / 1000;
  if (seconds < 60) return `${seconds.toFixed(1)}s`;
  const whole = Math.floor(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)}m${whole % 60}s`;
  if (whole < 86_400) return `${Math.floor(whole / 3600)}h${Math.floor((whole % 3600) / 60)}m`;
  return `${Math.floor(whole / 86_400)}d${Math.floor((whole % 86_400) / 3600)}h`;
}

/**
 * Names the holder of a lock in a sentence: its label, since when it holds the lock, and its
 * token.
 */
export function holderText({ label, startedAt, fencingToken }: LockRecord): string {
  return `${label === null ? 'an unnamed worker' : printable(label)} since ${timeText(startedAt)} (token ${fencingToken})`;
}

export function countText(count: number): string {
  return `${count} ${count === 1 ? 'lock' : 'locks'} held`;
}
