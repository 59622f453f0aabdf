import { EventEmitter } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { countBeats, countRuns } from './count-runs.mjs';
import { DatabaseView } from './database-view.mjs';
import { playFaults } from './faults.mjs';
import { Instance } from './instance.mjs';
import { Show } from './show.mjs';
import { summarize } from './summary.mjs';
import { objections } from './verdict.mjs';

const LIMIT = 42_000;

/**
 * Runs the demo. Returns its exit code, which is 0 only if all faults had their effects and no
 * two runs overlapped.
 */
export async function runDemo({ recordTo }) {
  const folder = mkdtempSync(join(tmpdir(), 'nestjs-locked-demo-'));
  const file = join(folder, 'demo.sqlite');
  const hub = new EventEmitter();
  const instances = ['api-1', 'api-2', 'api-3'].map((name) => new Instance(name, file, hub));
  process.once('exit', () => {
    for (const instance of instances) instance.destroy();
    rmSync(folder, { recursive: true, force: true });
  });
  const { signal } = watchForTrouble(hub);
  const beats = [];
  hub.on('beat', ({ at }) => beats.push({ at }));
  const show = new Show(instances, recordTo);
  let database;
  let against;
  try {
    show.tell('three instances start');
    const [first, ...others] = instances;
    await first.start(signal); // it starts alone, since it creates the tables
    database = show.database = new DatabaseView(file);
    await Promise.all(others.map((instance) => instance.start(signal)));
    show.tell('they run, and each has the same two jobs every second');
    const hits = await playFaults({ instances, hub, show, log: () => database.runs, signal });
    against = objections(database, hits, countBeats(beats));
  } catch (error) {
    against = [signal.aborted ? signal.reason.message : error.message];
  }
  show.end(summarize(countRuns(database?.runs ?? []), countBeats(beats), against));
  // After a failure, some instances still run.
  for (const instance of instances) instance.destroy();
  return against.length === 0 ? 0 : 1;
}

/** Returns a signal that aborts if the demo has to end early. */
function watchForTrouble(hub) {
  const trouble = new AbortController();
  const stop = (reason) => trouble.abort(new Error(reason));
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(name, () => stop(`Stopped by ${name}.`));
  hub.once('died', stop);
  setTimeout(stop, LIMIT, `It did not end within ${LIMIT / 1000} s.`).unref();
  return trouble;
}
