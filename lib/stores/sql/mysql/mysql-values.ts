/**
 * Replaces the names in a statement, such as `:owner`, by values. A statement may contain a
 * name several times.
 */
export type Bind = (values: object) => [sql: string, values?: unknown[]];

/**
 * Matches the name of a value, or a quoted identifier, in which a colon does not begin a name.
 */
const NAME = /`(?:[^`]|``)*`|:(\w+)/g;
/**
 * Matches a placeholder, or a quoted identifier, in which a question mark is no placeholder.
 */
const PLACE = /`(?:[^`]|``)*`|\?/g;

/**
 * Returns a function for each statement that binds its values.
 *
 * @param textual the names of the statements that are sent as text; all others are prepared
 */
export function bindEach<Name extends string>(
  statements: Record<Name, string>,
  textual: readonly string[],
): Record<Name, Bind> {
  const entries = Object.entries<string>(statements).map(([name, sql]) => [
    name,
    textual.includes(name) ? asText(sql) : prepared(sql),
  ]);
  return Object.fromEntries(entries) as Record<Name, Bind>;
}

/**
 * Binds the values of a prepared statement. Text is bound as bytes, since the character set of
 * the connection may lack some characters.
 */
function prepared(statement: string): Bind {
  const names: string[] = [];
  const sql = statement.replaceAll(NAME, (found, name?: string) => {
    if (name === undefined) return found;
    names.push(name);
    return '?';
  });
  return (values) => [
    sql,
    names.map((name) => {
      const value = valueOf(values, name);
      return typeof value === 'string' ? Buffer.from(value) : value;
    }),
  ];
}

/**
 * Binds the values of a statement that is sent as text. A list becomes literals that are
 * separated by commas.
 */
function asText(statement: string): Bind {
  return (values) => [
    statement.replaceAll(NAME, (found, name?: string) =>
      name === undefined ? found : literal(valueOf(values, name)),
    ),
  ];
}

/**
 * Puts the values into the text of a statement. Used while the server accepts no more prepared
 * statements.
 */
export function withLiterals(sql: string, values: readonly unknown[]): string {
  let next = 0;
  return sql.replaceAll(PLACE, (found) => (found === '?' ? literal(values[next++]) : found));
}

/**
 * Returns a literal of the text's bytes, which is independent of the connection's character
 * set and of its rules for quotes.
 */
export function hex(text: string | Buffer): string {
  return `X'${Buffer.from(text).toString('hex')}'`;
}

function literal(value: unknown): string {
  if (value === null) return 'NULL';
  if (Array.isArray(value)) return value.map(literal).join();
  return typeof value === 'number' ? String(value) : hex(value as string | Buffer);
}

function valueOf(values: object, name: string): unknown {
  const value = (values as Record<string, unknown>)[name];
  if (value === undefined) throw new TypeError(`The statement has no value for :${name}.`);
  return value;
}
