import { literal } from '../lock-table.schema.js';

/**
 * Matches a placeholder such as `$1`, or a quoted identifier, in which the same characters are
 * no placeholder.
 */
const PLACE = /"(?:[^"]|"")*"|\$(\d+)/g;

/**
 * Puts the values into the text of a statement, since a simple query cannot have parameters.
 */
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
  throw new TypeError(`A value of the type ${typeof value} cannot be written into a statement.`);
}

/**
 * Returns the literal of a text. A text beyond ASCII is written as bytes, since the session's
 * encoding may lack some of its characters.
 */
function textLiteral(text: string): string {
  const bytes = Buffer.from(text);
  if (bytes.length === text.length) return literal(text);
  return `convert_from(decode('${bytes.toString('hex')}', 'hex'), 'UTF8')`;
}
