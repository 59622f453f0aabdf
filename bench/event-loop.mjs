import { setTimeout as sleep } from 'node:timers/promises';

/**
 * Looks at the event loop turn by turn, for this long: `longest` is the longest that a turn has kept everybody else waiting, in milliseconds, and `longestOwn`
 * the longest for which this process itself was at work, and not kept from it by others. The probe never lets the loop sleep, so that what it sees is work and not idleness.
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
    turns.longestOwn = Math.max(turns.longestOwn, Math.min(turn, worked)); // threads beside count too
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
