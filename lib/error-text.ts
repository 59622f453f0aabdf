/**
 * Shows a value that cannot be used in an error message. It never shows all of an object, since
 * a connection string may be part of it.
 */
export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'function') return 'a function';
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}

/** The message for a value that an option cannot have. */
export function mustBe(name: string, expected: string, value: unknown): string {
  return `${name} must be ${expected}, but it is ${show(value)}.`;
}

/**
 * Cuts the final punctuation off a text from other code, so that a sentence of ours can go on
 * after it.
 */
export function clause(text: string): string {
  return text.replace(/[\s.!?:;,]+$/, '');
}
