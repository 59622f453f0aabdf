// Plants bugs, one at a time, in stores, in copies of the library and in the processes of
// `npm run torture`. Fails if a layer of tests does not find a bug that it has to find.
//
// npm run planted                                  plants all bugs.
// npm run planted -- --out report                  also writes planted.json and planted.md there.
// npm run planted -- --layer simulation            leaves the other layers out.
// npm run planted -- --bug 'no deadline'           plants only bugs with this text in their names.
// npm run planted -- --known-first                 tries a schedule that is known to show the bug first, for bugs that take long to find.
// npm run planted -- --bug 'no deadline' --schedule 7     prints the events of this schedule of the simulation.
import { parseArgs } from 'node:util';
import { ready } from './ready.mjs';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '20261120' },
    schedules: { type: 'string', default: '10000' },
    bug: { type: 'string', default: '' },
    layer: { type: 'string', default: '' },
    schedule: { type: 'string' },
    'known-first': { type: 'boolean', default: false },
    out: { type: 'string' },
  },
});
const seed = Number(values.seed);

// Torture needs the build for its processes, and SIGSTOP to freeze them, which Windows lacks.
const tortures = process.platform !== 'win32' && ['', 'torture'].includes(values.layer);
if (process.platform === 'win32') console.log('Torture is left out.');
await ready({ build: tortures });
const { layers, readBugs, simulationWith } = await import('./planted/layers.mjs');
const { summary, tableHead, tableRow, writeReport } = await import('./planted/report.mjs');
const bugs = (await readBugs()).filter(({ name }) => name.includes(values.bug));
if (bugs.length === 0) {
  console.error(`No planted bug has ${JSON.stringify(values.bug)} in its name.`);
  process.exit(2);
}

process.exitCode = values.schedule === undefined ? await findAll() : await tell(bugs[0]);

async function findAll() {
  const rows = [];
  console.log(tableHead());
  for (const bug of bugs) {
    for (const layer of bug.foundBy.filter(wanted)) {
      const began = performance.now();
      const how = { seed, schedules: Number(values.schedules), knownFirst: values['known-first'] };
      const result = await layers[layer].find(bug, how);
      const ms = Math.round(performance.now() - began);
      rows.push({ bug: bug.name, seenIn: bug.seenIn, layer, ms, ...result });
      console.log(tableRow(rows.at(-1)));
      if (result && layer !== 'conformance') console.log(`    ${result.replay}`);
    }
  }
  if (values.out !== undefined) writeReport(values.out, rows);
  console.log(summary(rows));
  return rows.length > 0 && rows.every(({ found }) => found !== undefined) ? 0 : 1;
}

function wanted(layer) {
  return layer === 'torture' ? tortures : !values.layer || layer === values.layer;
}

async function tell(bug) {
  const play = await simulationWith(bug);
  const { story, violation } = await play(seed, Number(values.schedule), { story: true });
  console.log(`${story.join('\n')}\n\n${bug.name}: ${violation ?? 'not seen in this schedule'}`);
  return violation === undefined ? 1 : 0;
}
