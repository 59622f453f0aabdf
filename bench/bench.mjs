import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { STORES } from './arguments.mjs';
import { describeMachine } from './machine.mjs';
import { Progress } from './progress.mjs';
import { machineLines } from './report/machine-lines.mjs';
import { tableOf, tally } from './report/table.mjs';
import { writeDocuments } from './report/documents.mjs';
import { saveReport } from './report/save.mjs';
import { Servers } from './servers.mjs';

/**
 * A full run makes so many repetitions that its figures can be trusted; a quick run gives a
 * first impression within minutes.
 */
const FULL = { warmUps: 200, iterations: 2_000, blocks: 15, attempts: 2 };
const QUICK = { warmUps: 30, iterations: 300, blocks: 15, attempts: 1 };
const SLICES = { full: 500, quick: 60 };

/** The name of the store in the rows of a measure that needs no database. */
const NO_STORE = 'none';

/** Measures one goal after the other, on one store after the other. Returns the exit code. */
export async function runBench({ only, stores, quick, peers, out, keep, command }) {
  const measures = (await loadMeasures()).filter(({ id }) => !only || only.includes(id));
  const jobs = measures
    .filter(({ slow, id }) => !(slow && quick) || only?.includes(id))
    .flatMap((measure) => storesOf(measure, stores).map((store) => ({ measure, store })))
    .filter(({ measure, store }) => only || !quick || (measure.goalsOn?.includes(store) ?? true));

  const progress = new Progress();
  const servers = new Servers();
  try {
    progress.begin('servers');
    const failures = await servers.start([...new Set(jobs.map(({ store }) => store))].filter(isDatabase));
    for (const { store, reason } of failures)
      progress.say(`NOT MEASURED: ${store} cannot be started: ${reason.message}`);
    const machine = describeMachine(servers);
    for (const line of machineLines(machine)) progress.say(line);

    const context = {
      servers,
      progress,
      quick,
      counts: quick ? QUICK : FULL,
      slice: quick ? SLICES.quick : SLICES.full,
      peers: peers ? (await import('./peers/index.mjs')).peers : [],
    };
    const results = failures.map(({ store, reason }) => failed('servers', 'start', store, reason));
    for (const { measure, store } of jobs) {
      if (failures.some((failure) => failure.store === store)) continue;
      results.push(...(await resultsOf(measure, { ...context, store, stores: [store] })));
    }
    const report = { date: new Date().toISOString(), command, quick, machine, results };
    progress.say(`\n${tableOf(results)}\n\n${tally(results)} in ${progress.seconds.toFixed(0)} s\n`);
    const isWhole = !only && !quick && STORES.every((store) => stores.includes(store));
    const isKept = isWhole || keep !== undefined;
    const folder = out ?? fileURLToPath(new URL(isKept ? 'results/' : 'results/partial/', import.meta.url));
    const written = await saveReport(report, folder, keep);
    if (isKept && out === undefined) written.push(...(await writeDocuments()));
    for (const file of written) progress.say(`written: ${file}`);
    return results.some(({ verdict }) => verdict === 'failed') ? 1 : 0;
  } finally {
    await servers.stop();
  }
}

async function resultsOf(measure, context) {
  const { id, title } = measure;
  const { store, servers, progress } = context;
  progress.begin(`${id} ${title}${isDatabase(store) ? `, ${store}` : ''}`);
  const begin = performance.now();
  try {
    const results = await measure.measure(context);
    const seconds = Number(((performance.now() - begin) / 1000).toFixed(1));
    const rows = results.map((result) => ({ id, title, ...result, seconds }));
    for (const row of rows) progress.say(tableOf([row], { heading: false }));
    return rows;
  } catch (error) {
    progress.say(`${id} ${store} FAILED: ${error.stack}`);
    return [failed(id, title, store, error)];
  } finally {
    // If the server has crashed, it is started again, so that the other measures do not fail
    // too.
    if (isDatabase(store) && (await servers.revive(store)))
      progress.say(`${store} had crashed, and runs again`);
  }
}

function failed(id, title, store, error) {
  const details = { error: error.message };
  return { id, title, store, measured: undefined, unit: '', goal: '', verdict: 'failed', details };
}

const isDatabase = (store) => store !== NO_STORE;

function storesOf(measure, asked) {
  return measure.stores.filter((store) => !isDatabase(store) || asked.includes(store));
}

/**
 * Imports all files of measures/, in the order of their names. The default export of each file
 * is a measure.
 */
async function loadMeasures() {
  const folder = new URL('measures/', import.meta.url);
  const files = readdirSync(folder).filter((file) => /^[ps]\d+-.*\.mjs$/.test(file));
  return Promise.all(files.toSorted().map(async (file) => (await import(new URL(file, folder))).default));
}
