/** The name of a value in a statement, or a quoted identifier. */
const NAME = /"(?:[^"]|"")*"|@(\w+)/g;

/** Replaces named values by positional ones, for clients that do not support names. */
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
