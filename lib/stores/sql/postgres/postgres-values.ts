import { literal } from '../lock-table.schema.js';

/** A place for a value, or a quoted identifier, which may contain the like. */
const PLACE = /"(?:[^"]|"")*"|\$(\d+)/g;

/** Writes the values of a statement into its text, as a simple query needs it. */
export function withLiterals(sql: string, values: readonly unknown[]): string {
  return sql.replaceAll(PLACE, (found, place?: string) =>
    place === undefined ? found : literalOf(values[Number(place) - 1]),
  );
}

function literalOf(value: unknown): string {
  if (value === null) return 'NULL';
  if (typeof value === 'string') return textLiteral(value);
  if (Array.isArray(value)) return `ARRAY[${value.map(literalOf).join()}]`;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  throw new TypeError(`A statement has no literal for a value of the type ${typeof value}.`);
}

/**
 * Text beyond ASCII is written as its bytes, since the encoding of the session may know less.
 */
function textLiteral(text: string): string {
  const bytes = Buffer.from(text);
  if (bytes.length === text.length) return literal(text);
  return `convert_from(decode('${bytes.toString('hex')}', 'hex'), 'UTF8')`;
}
