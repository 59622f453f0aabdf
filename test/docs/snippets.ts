import { readFileSync } from 'node:fs';
import ts from 'typescript';
import { importingFromSource } from './complete-files.js';

/** A block of TypeScript in a Markdown file. */
export interface Snippet {
  /** The document and the line of the code block, such as `README.md:42`. */
  where: string;
  code: string;
}

/**
 * The names that snippets use without an import, by the module from which the test imports
 * them.
 */
const KNOWN: Record<string, string[]> = {
  '../../lib/stores/typeorm/index.js': [
    'typeOrmStore',
    'typeOrmSessionStore',
    'TypeOrmLockStore',
    'lockTableMigration',
  ],
  '../../lib/stores/sql/index.js':
    'sqlStore sqlSessionStore SqlLockStore StatementExecutor fromPg fromMysql2 fromBetterSqlite3 fromTypeOrm fromDrizzle fromKnex fromPrisma'.split(
      ' ',
    ),
  '../../lib/interfaces/index.js': ['LockStore', 'assertKey', 'assertOwner', 'fitKey'],
  '../../lib/stores/mongodb/index.js': ['mongoStore', 'mongooseStore', 'MongoLockStore'],
  '../../lib/testing/index.js': [
    'LockTestingModule',
    'TestLocks',
    'withoutLocks',
    'lockStoreConformance',
    'sqlExecutorConformance',
  ],
  '../../lib/index.js':
    'LockAdmin LockController LockHandOff LockModule LockService Lock LockContext Locked InjectLockService LockInterceptor LockExceptionFilter LockNotAcquiredError LockLostError LockStoreError MemoryLockStore memoryStore'.split(
      ' ',
    ),
  '@nestjs/common': [
    'Injectable',
    'Module',
    'Controller',
    'Put',
    'Param',
    'UseFilters',
    'UseInterceptors',
    'INestApplication',
    'Inject',
    'OnModuleInit',
    'OnApplicationShutdown',
  ],
  '@nestjs/schedule': ['Cron', 'Interval', 'ScheduleModule', 'SchedulerRegistry'],
  cron: ['CronJob'],
  '@nestjs/event-emitter': ['OnEvent'],
  '@nestjs/testing': ['Test'],
  '@jest/globals': ['it'],
  '@nestjs/mongoose': ['MongooseModule'],
  typeorm: ['DataSource', 'EntityManager'],
  'typeorm-transactional': ['Transactional'],
  mongodb: ['ClientSession', 'MongoClient', 'Collection'],
  pg: ['Pool', 'PoolClient'],
  '../stores/clients/postgresjs-executor.js': ['PostgresJsExecutor'],
  './prisma.module.js': ['PrismaModule'],
  './prisma.service.js': ['PrismaService'],
};

/** Declarations that snippets take from the reader's application, by name. */
const AMBIENT: Record<string, string> = {
  AdminGuard: 'class AdminGuard { canActivate(): boolean { return true; } }',
  Billing: 'class Billing { @Locked() async exportInvoices(): Promise<void> {} }',
  MongoModule: 'class MongoModule {}',
  MyStore: 'class MyStore extends MemoryLockStore {}',
  ConfigService: 'abstract class ConfigService { abstract get(name: string): string | undefined }',
  app: 'declare const app: INestApplication;',
  manager: 'declare const manager: EntityManager;',
  dataSource: 'declare const dataSource: DataSource;',
  registry: 'declare const registry: SchedulerRegistry;',
  lock: 'declare const lock: Lock;',
  locks: 'declare const locks: LockService;',
  admin: 'declare const admin: LockAdmin;',
  body: 'declare const body: string;',
  id: 'declare const id: number;',
  orders: 'declare const orders: Collection<{ _id: number; shipped: boolean }>;',
  sql: `declare const sql: import('postgres').Sql;`,
  store: 'declare const store: ReturnType<typeof memoryStore>;',
  pool: 'declare const pool: Pool;',
  PG_POOL: `declare const PG_POOL: symbol;`,
  DRIZZLE: `declare const DRIZZLE: symbol;`,
  Databases: 'abstract class Databases { abstract poolOf(region: string): Promise<Pool> }',
  prisma:
    'declare const prisma: { $transaction<T>(work: (tx: Prisma.TransactionClient) => Promise<T>): Promise<T> };',
  Prisma: `declare namespace Prisma {
    interface TransactionClient {
      $queryRawUnsafe(sql: string): Promise<unknown>;
      order: { update(request: { where: { id: number }; data: { shipped: boolean } }): Promise<object> };
    }
  }`,
};

/**
 * Imports of files in the reader's application, and the files of this repository that replace
 * them.
 */
const FILES: Record<string, string> = {
  './generated/prisma/client.js': '../../sample/05-prisma-postgres/src/generated/prisma/client.js',
  '@nestjs/locks': '../stores/clients/locks-storage.js',
  './prisma.module.js': '../../sample/05-prisma-postgres/src/prisma/prisma.module.js',
  './prisma.service.js': '../../sample/05-prisma-postgres/src/prisma/prisma.service.js',
};

export function snippetsOf(file: string): Snippet[] {
  const text = readFileSync(file, 'utf8');
  return [...text.matchAll(/^( *)```ts\n([\s\S]*?)^ *```/gm)].map((match) => ({
    where: `${file}:${text.slice(0, match.index).split('\n').length}`,
    code: (match[2] ?? '').replaceAll(new RegExp(`^${match[1]}`, 'gm'), ''),
  }));
}

/**
 * Adds the imports that snippets leave out, and compiles all of them in one program, because
 * setting up a program takes seconds.
 */
export function problemsOf(snippets: Snippet[]): Map<Snippet, string[]> {
  const files = new Map(snippets.map((snippet, i) => [`test/docs/snippet-${i}.ts`, snippet]));
  const { config } = ts.readConfigFile('tsconfig.json', (path) => ts.sys.readFile(path));
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, '.');
  const host = ts.createCompilerHost(options);
  const fromDisk = host.getSourceFile.bind(host);
  host.getSourceFile = (name, ...rest) => {
    const snippet = files.get(name);
    return snippet
      ? ts.createSourceFile(name, complete(snippet.code), ts.ScriptTarget.ES2022)
      : fromDisk(name, ...rest);
  };
  const settings = { ...options, noUnusedLocals: false, noUnusedParameters: false };
  const program = ts.createProgram([...files.keys()], settings, host);
  const problems = new Map<Snippet, string[]>(snippets.map((snippet) => [snippet, []]));
  for (const { file, messageText } of ts.getPreEmitDiagnostics(program)) {
    // A problem that belongs to no file, such as an unknown compiler option, counts for every
    // snippet.
    const concerned = file ? [files.get(file.fileName)] : snippets;
    for (const snippet of concerned)
      if (snippet) problems.get(snippet)?.push(ts.flattenDiagnosticMessageText(messageText, '\n'));
  }
  return problems;
}

function complete(code: string): string {
  // A complete file has all of its imports, except that a test file relies on the globals of
  // its runner.
  if (code.startsWith('// src/'))
    return `import { describe, expect, it } from '@jest/globals';\n${importingFromSource(code)}`;
  // A method that is shown without its class gets a class.
  const whole = code.startsWith('@') && !/\bclass\b/.test(code) ? `class Example {\n${code}\n}` : code;
  const declares = (name: string) =>
    new RegExp(
      `\\b(const|let|class|using|function) ${name}\\b|import [^;]*\\b${name}\\b|\\((.*, )?${/^[a-z]/.test(name) ? name : 'never'}(?:[,:]|\\) =>)`,
    ).test(whole);
  const uses = (name: string, text: string) => new RegExp(`(?<![.\\w'"])${name}\\b`).test(text);
  let text = whole;
  // A declaration may use another declaration, which comes later in the list.
  for (const [name, declaration] of Object.entries(AMBIENT))
    if (uses(name, text) && !declares(name)) text = `${declaration}\n${text}`;
  const imports = Object.entries(KNOWN).flatMap(([module, names]) => {
    const needed = names.filter((name) => uses(name, text) && !declares(name));
    return needed.length > 0 ? [`import { ${needed.join(', ')} } from '${module}';`] : [];
  });
  return importingFromSource([...imports, text, 'export {};'].join('\n')).replaceAll(
    /'(?:@nestjs\/locks|\.\/[\w./]+\.js)'/g,
    (file) => `'${FILES[file.slice(1, -1)] ?? file.slice(1, -1)}'`,
  );
}
