import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Measures each turn of the event loop for a number of milliseconds. `longest` is the longest
 * turn. `longestOwn` is the longest time in a turn for which this process really ran, while
 * the machine ran no other process. The probe never lets the loop sleep, so it measures work
 * and not idleness.
 */
export async function watchEventLoop(milliseconds) {
  const turns = { longest: 0, longestOwn: 0, above10: 0, count: 0 };
  let watching = true;
  let last = performance.now();
  let cpu = cpuTime();
  const look = () => {
    const at = performance.now();
    const turn = at - last;
    const worked = cpuTime() - cpu;
    turns.count++;
    if (turn > 10) turns.above10++;
    turns.longest = Math.max(turns.longest, turn);
    // The processor time also contains that of other threads, so it can be longer than the
    // turn.
    turns.longestOwn = Math.max(turns.longestOwn, Math.min(turn, worked));
    cpu = cpuTime();
    last = performance.now();
    if (watching) setImmediate(look);
  };
  setImmediate(look);
  await sleep(milliseconds);
  watching = false;
  return turns;
}

function cpuTime() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
