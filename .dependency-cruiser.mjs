// npm run structure: which folder may import which. Arrows point down this list:
// faces > module, service and decorators > engine > options, interfaces. Stores know the port,
// and no engine.
const FACES = '^lib/(cli|testing)/';
const KERNEL = '^lib/(lock\\.errors|safe-error)\\.ts$';
const DRIVERS = [
  'typeorm',
  '@nestjs/typeorm',
  'pg',
  'mysql2',
  'better-sqlite3',
  'mongodb',
  'mongoose',
  '@nestjs/mongoose',
  'drizzle-orm',
  'knex',
  '@prisma',
];
const DRIVER_PATHS = `^node_modules/(${DRIVERS.join('|')})/`;

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  forbidden: [
    {
      name: 'no-cycles',
      comment: 'Two files that import each other are one file, or hide a third.',
      severity: 'error',
      from: { path: '^lib/' },
      to: { circular: true },
    },
    {
      name: 'no-face-is-imported',
      comment: 'Faces are optional: an application that does not use one must not load it.',
      severity: 'error',
      from: { path: '^lib/', pathNot: FACES },
      to: { path: FACES },
    },
    {
      name: 'no-driver-outside-stores',
      comment: 'Applications install one driver, or none.',
      severity: 'error',
      from: { path: '^lib/', pathNot: `^lib/stores/|${FACES}` },
      to: { path: DRIVER_PATHS },
    },
    {
      name: 'options-and-interfaces-are-the-bottom',
      severity: 'error',
      from: { path: '^lib/(options|interfaces)/' },
      // The callback onLost gets the lock, whose type stands beside its code.
      to: { path: '^lib/', pathNot: `^lib/(options|interfaces)/|^lib/lock\\.ts$|${KERNEL}` },
    },
    {
      name: 'engine-knows-no-service-and-no-store',
      severity: 'error',
      from: { path: '^lib/engine/' },
      to: {
        path: '^lib/',
        pathNot: `^lib/(engine|options|interfaces)/|^lib/(lock|lock-context|lock\\.events)\\.ts$|${KERNEL}`,
      },
    },
    {
      name: 'service-knows-no-decorator-and-no-module',
      severity: 'error',
      from: { path: '^lib/(lock\\.service|lock-internals|lock|lock-context)\\.ts$' },
      to: { path: '^lib/(decorators|handlers)/|^lib/lock\\.module\\.ts$' },
    },
    {
      name: 'stores-know-only-the-port',
      severity: 'error',
      from: { path: '^lib/stores/' },
      to: { path: '^lib/', pathNot: `^lib/(stores|options|interfaces)/|${KERNEL}` },
    },
    {
      name: 'stores-know-no-other-store',
      severity: 'error',
      from: { path: '^lib/stores/(memory|mongodb|sql|typeorm|executors)/' },
      to: { path: '^lib/stores/(memory|mongodb)/', pathNot: '^lib/stores/$1/' },
    },
    {
      name: 'sql-knows-no-client',
      comment: 'What is SQL reaches the database through an executor.',
      severity: 'error',
      // The entry lists the executors beside the store.
      from: { path: '^lib/stores/sql/', pathNot: '^lib/stores/sql/index\\.ts$' },
      to: { path: `^lib/stores/(executors|typeorm)/|${DRIVER_PATHS}` },
    },
    {
      name: 'databases-know-no-other-database',
      severity: 'error',
      from: { path: '^lib/stores/sql/(postgres|mysql|sqlite)/' },
      to: { path: '^lib/stores/sql/(postgres|mysql|sqlite)/', pathNot: '^lib/stores/sql/$1/' },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: { extensions: ['.ts', '.js'] },
  },
};
