// Prints the behaviours that the library claims (test/behaviours.json), and the faults that
// independent testers found (test/found.json). Each is printed with the tests whose titles
// begin with its number. Fails if a number has no test.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = new URL('..', import.meta.url).pathname;
const behaviours = read('test/behaviours.json');
const found = read('test/found.json');
const tests = new Map([...Object.keys(behaviours), ...Object.keys(found)].map((number) => [number, []]));
const unclaimed = [];

// Tests have their titles in specs, or in conformance cases, which the specs of all stores
// run.
for (const file of [...sources('test', /\.spec\.ts$/), ...sources('lib/testing', /\.cases\.ts$/)]) {
  for (const title of numberedTitles(readFileSync(join(root, file), 'utf8'))) {
    for (const number of numbersOf(title)) {
      if (tests.has(number)) tests.get(number).push({ title, file });
      else unclaimed.push(`${number}: ${title}  (${file})`);
    }
  }
}

for (const [number, meaning] of Object.entries(behaviours)) {
  console.log(`${number} ${meaning}`);
  for (const { title, file } of tests.get(number)) console.log(`    ${title}  (${file})`);
}
console.log('\nFaults that were found from outside');
for (const [number, meaning] of Object.entries(found)) {
  const files = new Map();
  for (const { file } of tests.get(number)) files.set(file, (files.get(file) ?? 0) + 1);
  console.log(`${number.padEnd(4)} ${meaning}`);
  for (const [file, count] of files) console.log(`       ${String(count).padStart(3)} in ${file}`);
}

const untested = [...tests].filter(([, titles]) => titles.length === 0).map(([number]) => number);
const withTests = (claims) => Object.keys(claims).filter((number) => !untested.includes(number)).length;
console.log(`
${Object.keys(behaviours).length} behaviours claimed, ${withTests(behaviours)} with tests
${Object.keys(found).length} faults found, ${withTests(found)} with tests`);
if (unclaimed.length > 0)
  console.log(`titles whose number stands in neither list:\n    ${unclaimed.join('\n    ')}`);
if (untested.length > 0) {
  console.error(
    `No title begins with ${untested.join(', ')}. Write a test, or take the number out of test/behaviours.json or test/found.json.`,
  );
  process.exitCode = 1;
}

function read(file) {
  return JSON.parse(readFileSync(join(root, file), 'utf8'));
}

function sources(folder, pattern) {
  return readdirSync(join(root, folder), { recursive: true })
    .filter((file) => pattern.test(file))
    .map((file) => join(folder, file));
}

/**
 * Returns the string literals that begin with a number. They are the titles of tests, of
 * cases, and of groups of either.
 */
function numberedTitles(source) {
  return [...source.matchAll(/(['"`])((?:[ABER]\d+|D\d*)[ ,](?:(?!\1)[^\\\n]|\\.)*)\1/g)].map(
    ([, , title]) => title,
  );
}

/** Returns the numbers of a title; `B17 and B18 a wait …` and `A1, B83 a grant …` have two. */
function numbersOf(title) {
  const [beginning] = /^(?:(?:[ABER]\d+|D\d*)[\s,]+(?:and\s+)?)+/.exec(title);
  return new Set(beginning.match(/[ABER]\d+|D\d*/g));
}
