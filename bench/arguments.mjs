import { parseArgs } from 'node:util';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const STORES = ['postgres', 'mariadb', 'mysql', 'sqlite', 'mongodb'];

/** Older versions of the bench do not know MySQL. */
const STORES_OF_ALL_VERSIONS = STORES.filter((store) => store !== 'mysql');

const USAGE = `npm run bench -- [--quick] [--only P1,S1] [--store ${STORES.join(',')}] [--peers] [--out DIR | --keep NAME]
npm run bench -- --against DIR [--only P1,P3,P8,P14] [--store ...]
npm run bench -- --documents

bench/README.md explains the measures.`;

/**
 * Reads the command line. The process ends if the command line is wrong or asks for help. This
 * function needs no packages, since a fresh clone has none.
 */
export function readArguments(args) {
  const { help, only, store, ...options } = parsed(args);
  if (help) end(USAGE, 0);
  const measures = listOf(only?.toUpperCase());
  const stores = listOf(store) ?? (options.against ? STORES_OF_ALL_VERSIONS : STORES);
  refuse('--only', measures ?? [], measureIds());
  refuse('--store', stores, STORES);
  if (options.keep && options.quick) end('--keep is for figures that can be quoted, not for --quick', 2);
  if (options.keep && !/^[a-z0-9-]+$/.test(options.keep))
    end(`--keep names a file of lower-case letters, digits and dashes, not "${options.keep}"`, 2);
  return { only: measures, stores, ...options, command: ['npm run bench --', ...args].join(' ').trim() };
}

function parsed(args) {
  const options = {
    only: { type: 'string' },
    store: { type: 'string' },
    quick: { type: 'boolean', default: false },
    peers: { type: 'boolean', default: false },
    out: { type: 'string' },
    keep: { type: 'string' },
    documents: { type: 'boolean', default: false },
    against: { type: 'string' },
    help: { type: 'boolean', default: false },
  };
  try {
    return parseArgs({ args, options }).values;
  } catch (error) {
    return end(`${error.message}\n${USAGE}`, 2);
  }
}

/**
 * The ids of all measures, such as P1, which come from the names of the files in `measures/`.
 */
export function measureIds() {
  const files = readdirSync(fileURLToPath(new URL('measures', import.meta.url))).toSorted();
  const ids = files.flatMap((file) => {
    const [, letter, number] = /^([ps])(\d\d)-/.exec(file) ?? [];
    return letter ? [`${letter.toUpperCase()}${Number(number)}`] : [];
  });
  return [...new Set(ids)];
}

function refuse(option, given, known) {
  const unknown = given.filter((one) => !known.includes(one));
  if (unknown.length > 0)
    end(`${option} names ${unknown.map((one) => `"${one}"`).join(', ')}; there are: ${known.join(', ')}`, 2);
}

const listOf = (text) => text?.split(',').map((word) => word.trim());

function end(text, code) {
  if (code === 0) console.log(text);
  else console.error(text);
  process.exit(code);
}
