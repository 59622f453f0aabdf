// Prints each behaviour that the library claims (test/behaviours.json) with the tests that name its number, and fails when one has none.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const root = new URL('..', import.meta.url).pathname;
const claimed = JSON.parse(readFileSync(join(root, 'test/behaviours.json'), 'utf8'));
const tests = new Map(Object.keys(claimed).map((number) => [number, []]));
const unclaimed = [];

// Specs, and the conformance cases, which the specs of every store run.
for (const file of [...sources('test', /\.spec\.ts$/), ...sources('lib/testing', /\.cases\.ts$/)]) {
  for (const name of testNames(readFileSync(join(root, file), 'utf8'))) {
    for (const number of numbersOf(name)) {
      if (tests.has(number)) tests.get(number).push(`${name}  (${file})`);
      else unclaimed.push(`${number}: ${name}  (${file})`);
    }
  }
}

for (const [number, names] of tests) {
  console.log(`${number} ${claimed[number]}`);
  for (const name of names) console.log(`    ${name}`);
}
const untested = [...tests].filter(([, names]) => names.length === 0).map(([number]) => number);
console.log(`\n${tests.size} behaviours claimed, ${tests.size - untested.length} with tests`);
if (unclaimed.length > 0)
  console.log(`tests of behaviours that are not claimed yet:\n    ${unclaimed.join('\n    ')}`);
if (untested.length > 0) {
  console.error(
    `no test names ${untested.join(', ')}: write one, or take the claim out of test/behaviours.json`,
  );
  process.exitCode = 1;
}

function sources(folder, pattern) {
  return readdirSync(join(root, folder), { recursive: true })
    .filter((file) => pattern.test(file))
    .map((file) => join(folder, file));
}

/** String literals that begin with the number of a behaviour: the names of tests, of cases, and of groups of them. */
function testNames(source) {
  return [...source.matchAll(/(['"`])(B\d+\b(?:(?!\1)[^\\\n]|\\.)*)\1/g)].map(([, , name]) => name);
}

function numbersOf(name) {
  return new Set(/^(?:B\d+[\s,]*(?:and\s+)?)+/.exec(name)[0].match(/B\d+/g));
}
