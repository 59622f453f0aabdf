// npm run three-instances: runs the first example of the README in three processes, on a
// private PostgreSQL, first without @Locked() and then with it. The README shows the logs that
// the example prints here.
import { ready } from './ready.mjs';

await ready({ build: true });

// Imported only now, since they need packages that a fresh clone did not have before.
const { start } = await import('../test/servers/postgres.mjs');
const { runsByTick, runThreeInstances } = await import('./readme/instances.mjs');

const server = await start();
try {
  for (const locked of [false, true]) {
    console.log(locked ? '\nwith @Locked()' : 'without @Locked()');
    const until = (lines) => runsByTick(lines).size > 3; // by then, the third tick is complete
    const lines = await runThreeInstances({ url: server.url, locked, until });
    for (const { name, line } of lines) console.log(`${name} | ${line}`);
  }
} finally {
  await server.stop();
}
