import { readdirSync, readFileSync } from 'node:fs';

/** Whether the processor time of other processes can be read: on Linux alone. */
export const tellsCpu = process.platform === 'linux';

const TICK = 10; // milliseconds; 100 per second is what Linux shows on all its platforms

/**
 * Processor time in milliseconds that a server has used so far: all its processes, and the
 * ended processes that they have waited for.
 */
export function cpuOf(pid) {
  const processes = statsOfAll();
  const family = new Set([pid]);
  // Children have been found late when a process number has come round.
  for (let size = 0; size !== family.size;) {
    size = family.size;
    for (const { id, parent } of processes) if (family.has(parent)) family.add(id);
  }
  const own = processes.filter(({ id }) => family.has(id));
  return own.reduce((sum, { ticks }) => sum + ticks, 0) * TICK;
}

/**
 * Of all processes: utime, stime, cutime and cstime of /proc/PID/stat, which the man page
 * proc_pid_stat(5) describes.
 */
function statsOfAll() {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      const text = statOf(name);
      if (!text) return [];
      // The name before these fields may contain blanks.
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
      const ticks = fields.slice(11, 15).reduce((sum, value) => sum + Number(value), 0);
      return [{ id: Number(name), parent: Number(fields[1]), ticks }];
    });
}

function statOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch (error) {
    // The process has ended meanwhile.
    if (error.code === 'ENOENT' || error.code === 'ESRCH') return undefined;
    throw error;
  }
}
