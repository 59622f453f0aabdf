/**
 * Puts values in the places of names such as `:owner`, which a statement may contain several
 * times.
 */
export type Bind = (values: object) => [sql: string, values?: unknown[]];

/** A name, or a quoted identifier, which may contain a colon. */
const NAME = /`(?:[^`]|``)*`|:(\w+)/g;
/** A placeholder, or a quoted identifier, which may contain a question mark. */
const PLACE = /`(?:[^`]|``)*`|\?/g;

/**
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
 * Binds the values of a prepared statement. Text is sent as bytes, since the character set of
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
 * Binds the values of a statement that is sent as text. A list becomes literals with commas.
 */
function asText(statement: string): Bind {
  return (values) => [
    statement.replaceAll(NAME, (found, name?: string) =>
      name === undefined ? found : literal(valueOf(values, name)),
    ),
  ];
}

/**
 * Puts the values into the text of a statement, for servers that refuse further prepared
 * statements.
 */
export function withLiterals(sql: string, values: readonly unknown[]): string {
  let next = 0;
  return sql.replaceAll(PLACE, (found) => (found === '?' ? literal(values[next++]) : found));
}

/**
 * A literal of the text's bytes, which depends neither on the connection's character set nor
 * on its rules for quotes.
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
