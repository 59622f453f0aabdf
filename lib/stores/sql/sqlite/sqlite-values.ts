/**
 * Matches the name of a value such as `@owner`, or a quoted identifier, in which an @ begins
 * no name.
 */
const NAME = /"(?:[^"]|"")*"|@(\w+)/g;

/**
 * Replaces named values in a statement by positional ones, for clients that do not support
 * names.
 */
export function positional(
  sql: string,
  values: readonly unknown[],
): [sql: string, values: readonly unknown[]] {
  const [named] = values;
  if (typeof named !== 'object' || named === null || Buffer.isBuffer(named)) return [sql, values];
  const placed: unknown[] = [];
  const text = sql.replaceAll(NAME, (found, name?: string) => {
    if (name === undefined) return found;
    placed.push((named as Record<string, unknown>)[name]);
    return '?';
  });
  return [text, placed];
}
