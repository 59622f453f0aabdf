import { readdirSync, readFileSync } from 'node:fs';

/** Whether the processor time of other processes can be read, which only Linux allows. */
export const tellsCpu = process.platform === 'linux';

// Milliseconds: Linux counts processor time in 100 ticks per second on all its platforms.
const TICK = 10;

/**
 * Returns the processor time in milliseconds that a server has used so far: the time of all
 * its processes, and of the ended processes that they have waited for.
 */
export function cpuOf(pid) {
  const processes = statsOfAll();
  const family = new Set([pid]);
  // Child processes are searched repeatedly: a child may have a smaller number than its
  // parent, and so come before it in the list.
  for (let size = 0; size !== family.size;) {
    size = family.size;
    for (const { id, parent } of processes) if (family.has(parent)) family.add(id);
  }
  const own = processes.filter(({ id }) => family.has(id));
  return own.reduce((sum, { ticks }) => sum + ticks, 0) * TICK;
}

/**
 * Reads the processor times of all processes: utime, stime, cutime and cstime of
 * /proc/PID/stat, see the man page proc_pid_stat(5).
 */
function statsOfAll() {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      const text = statOf(name);
      if (!text) return [];
      // The fields follow the name of the process in parentheses, which may contain spaces.
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
      const ticks = fields.slice(11, 15).reduce((sum, value) => sum + Number(value), 0);
      return [{ id: Number(name), parent: Number(fields[1]), ticks }];
    });
}

function statOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch (error) {
    // The process has ended since its number was listed.
    if (error.code === 'ENOENT' || error.code === 'ESRCH') return undefined;
    throw error;
  }
}
