/** What a process says by its exit code, besides the command's own under `hold`. The shell's and sysexits.h's numbers, where there are any. */
export const EXIT = {
  done: 0,
  /** The lock is busy or paused, or nobody held what was to be released. */
  conflict: 1,
  /** EX_USAGE: the command line, a URL or a key cannot be used, or a package is missing. */
  usage: 64,
  /** EX_UNAVAILABLE: the database cannot be reached, or refuses. */
  unavailable: 69,
  /** EX_SOFTWARE: an error of this program. */
  internal: 70,
  /** As timeout(1) has it: the command was ended, here because its lock was lost. */
  lost: 124,
  notExecutable: 126,
  notFound: 127,
  /** Added to the number of the signal that ended the command. */
  signal: 128,
} as const;

export const EXIT_CODES_HELP = `
Exit codes:
  0        done; under hold, whatever the command ended with
  1        hold: the lock is busy or paused (see --conflict-exit-code); release: nobody held it
  64       the command line, the URL or the key cannot be used, or a package is missing
  69       the database cannot be reached, refuses, or has no table for locks
  70       an error of this program
  124      hold: the lock was lost, and the command was stopped
  126,127  hold: the command cannot be executed, or does not exist
  128+n    hold: signal n ended the command, or the wait for the lock`;
