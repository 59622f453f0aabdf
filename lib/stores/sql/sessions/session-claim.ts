import { createHash } from 'node:crypto';

/** A lock as the server knows it, and what those who look at it are told. */
export interface SessionClaim {
  /** What the server locks: a number on PostgreSQL, a name on MySQL and MariaDB. */
  readonly name: string;
  /** The readable start of the key, of letters, digits and a few signs that mean nothing in SQL. */
  readonly title: string;
  /** Key and label, see {@link noteOf}. */
  readonly note: string;
}

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

/** What {@link noteOf} wrote. */
export function readNote(note: string): { key: string; label: string | null } {
  const [key = '', label] = note.split('.').map((part) => Buffer.from(part, 'base64url').toString());
  return { key, label: label ?? null };
}

function cut(label: string): string {
  const bytes = Buffer.from(label);
  let end = Math.min(bytes.length, LABEL_BYTES);
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--; // never in the middle of a character
  return bytes.subarray(0, end).toString();
}
