import { createHash } from 'node:crypto';
import type { LockRecord } from '../../../interfaces/lock-record.interface.js';
import type { SessionDatabase, SessionLook } from './session-database.js';

const LABEL_BYTES = 255;

/** The first bytes of the SHA-256 that stand for a key: no two keys share them, and no application locks the same by chance. */
export function digestOf(key: string, ...scope: string[]): Buffer {
  return createHash('sha256')
    .update(['nestjs-locked', ...scope, key].join('\0'))
    .digest();
}

/** As much of the key as fits, for people who look at the server. */
export function titleOf(key: string, length: number): string {
  return key.slice(0, length).replaceAll(/[^\w.:-]/g, '_');
}

/** Key and label in signs that mean nothing in SQL, and at most 700 of them: PostgreSQL shows the first 1,023 bytes of a statement. */
export function noteOf(key: string, label: string | null): string {
  const parts = label === null ? [key] : [key, cut(label)];
  return parts.map((part) => Buffer.from(part).toString('base64url')).join('.');
}

/**
 * The locks among the names that a server shows. Names that other programs have locked are left
 * out, and locks whose holder has not written its note yet.
 */
export function recordsOf(
  looks: readonly SessionLook[],
  database: Pick<SessionDatabase, 'lockOf'>,
): LockRecord[] {
  return looks.flatMap(({ name, note, token, waiters }) => {
    const { key, label } = readNote(note);
    if (key === '' || database.lockOf(key, null).name !== name) return [];
    const startedAt = new Date(token / 1_000); // the token is the clock of that moment
    const since = { startedAt, renewedAt: startedAt };
    return [{ key, label, fencingToken: token, ...since, expiresAt: null, remaining: Infinity, waiters }];
  });
}

/** Reads what {@link noteOf} wrote. */
function readNote(note: string): { key: string; label: string | null } {
  const [key = '', label] = note.split('.').map((part) => Buffer.from(part, 'base64url').toString());
  return { key, label: label ?? null };
}

function cut(label: string): string {
  const bytes = Buffer.from(label);
  let end = Math.min(bytes.length, LABEL_BYTES);
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--; // never in the middle of a character
  return bytes.subarray(0, end).toString();
}
