// npm run simulate: plays thousands of small worlds in which requests get lost, processes freeze and databases restart, and checks whether
// the library keeps its promises. A schedule with the same seed is always the same:
// npm run simulate -- --schedules 75000 --seed 42
// npm run simulate -- --seed 42 --schedule 7      plays one schedule, and prints its events
import { parseArgs } from 'node:util';
import { ready } from './ready.mjs';

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: process.env.SIM_SEED ?? '20261120' },
    schedules: { type: 'string', default: process.env.SIM_SCHEDULES ?? '5000' },
    schedule: { type: 'string' },
  },
});
const seed = number('seed', values.seed);

await ready();
const { importCompiled } = await import('./simulation/compiled.mjs');
const { Progress } = await import('./simulation/progress.mjs');
const [{ playSchedule }] = await importCompiled('sound', ['test/simulation/simulation.ts']);

process.exitCode =
  values.schedule === undefined ? await playAll() : await tell(number('schedule', values.schedule));

async function playAll() {
  const schedules = number('schedules', values.schedules);
  const progress = new Progress();
  const total = { holds: 0, passed: 0, shared: 0, losses: 0, faults: new Map() };
  const began = performance.now();
  for (let schedule = 1; schedule <= schedules; schedule++) {
    const outcome = await playSchedule(seed, schedule);
    if (outcome.violation !== undefined) {
      progress.end();
      return tell(schedule);
    }
    total.holds += outcome.holds;
    total.passed += outcome.passed;
    total.shared += outcome.shared;
    total.losses += outcome.losses;
    for (const [fault, times] of outcome.faults)
      total.faults.set(fault, (total.faults.get(fault) ?? 0) + times);
    progress.show(() => line(schedule, total, 0));
  }
  progress.end();
  const seconds = (performance.now() - began) / 1000;
  for (const [fault, times] of [...total.faults].sort(([, a], [, b]) => b - a))
    console.log(`${String(times).padStart(9)}  ${fault}`);
  console.log(`seed ${seed}, ${seconds.toFixed(1)} s, ${Math.round(schedules / seconds)} schedules a second`);
  console.log(line(schedules, total, 0));
  return 0;
}

/**
 * Plays one schedule and prints its events. If the library breaks a promise, the events end
 * there.
 */
async function tell(schedule) {
  const { story, violation, holds, losses } = await playSchedule(seed, schedule, { story: true });
  console.log(story.join('\n'));
  if (violation === undefined) {
    console.log(
      `\nNo promise is broken in schedule ${schedule} of seed ${seed}: ${holds} holds, ${losses} losses noticed.`,
    );
    return 0;
  }
  console.error(`\nBroken in schedule ${schedule} of seed ${seed}: ${violation}`);
  console.error(`Play it again: npm run simulate -- --seed ${seed} --schedule ${schedule}`);
  return 1;
}

function line(schedules, { holds, passed, shared, losses, faults }, violations) {
  const sum = [...faults.values()].reduce((a, b) => a + b, 0);
  return `simulation: ${schedules} schedules, ${holds} holds, ${passed} locks released to waiters, ${shared} requests in batches, ${losses} losses noticed, ${sum} faults, ${violations} violations`;
}

function number(name, text) {
  if (/^\d+$/.test(text)) return Number(text);
  console.error(`--${name} must be a whole number, but it is ${JSON.stringify(text)}.`);
  process.exit(2);
}
