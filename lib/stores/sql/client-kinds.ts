/**
 * The kinds of client objects. They are recognized by their members, so that no client has to
 * be imported.
 */
const KINDS: readonly [kind: string, is: (value: Members) => boolean][] = [
  ['a QueryRunner of TypeORM', (v) => has(v, 'startTransaction') && 'isTransactionActive' in v],
  ['a DataSource of TypeORM', (v) => has(v, 'createQueryRunner')],
  ['an EntityManager of TypeORM', (v) => has(v, 'createQueryBuilder', 'getRepository')],
  ['a transaction of Knex', (v) => v.isTransaction === true],
  ['a Knex instance', (v) => has(v, 'raw', 'transaction') && 'migrate' in v],
  ['a transaction of Drizzle', (v) => isObject(v.session) && has(v, 'select', 'rollback')],
  ['a Drizzle database', (v) => isObject(v.session) && has(v, 'select', 'transaction')],
  ['a PrismaClient', (v) => has(v, '$transaction', '$queryRawUnsafe')],
  ['a transaction of Prisma', (v) => has(v, '$queryRawUnsafe')],
  ['a pool of pg', (v) => has(v, 'connect', 'query', 'end') && 'totalCount' in v],
  ['a client of pg', (v) => has(v, 'connect', 'query', 'end') && 'processID' in v],
  ['a pool cluster of mysql2', (v) => has(v, 'of', 'getConnection')],
  ['a pool of mysql2', (v) => has(v, 'getConnection', 'execute', 'end')],
  ['a pool of the package mysql, not mysql2', (v) => has(v, 'getConnection', 'query', 'end')],
  ['a connection of mysql2', (v) => has(v, 'execute', 'query', 'ping')],
  ['a database of better-sqlite3', (v) => has(v, 'prepare', 'pragma', 'exec')],
  ['a promise: await it', (v) => has(v, 'then')],
];

type Members = Record<string, unknown>;

/** Describes a value in messages by the kind of its client, and never shows its content. */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (!isObject(value)) return typeof value === 'string' ? 'a text' : `a ${typeof value}`;
  for (const [kind, is] of KINDS) if (is(value)) return kind;
  if (typeof value === 'function') return 'a function';
  const { name } = Object(value.constructor) as { name?: unknown };
  return typeof name === 'string' && name !== 'Object' ? `an object of the class ${name}` : 'another object';
}

function isObject(value: unknown): value is Members {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}

function has(value: Members, ...methods: string[]): boolean {
  return methods.every((method) => typeof value[method] === 'function');
}
