/**
 * The exit codes of this program. Under `hold`, the exit code of the command comes first. If
 * the shell or sysexits.h has a number for a kind of failure, this program uses the same
 * number.
 */
export const EXIT = {
  done: 0,
  /** The lock is busy or paused, or the key to release was not held. */
  conflict: 1,
  /** EX_USAGE: the command line, a URL or a key cannot be used, or a package is missing */
  usage: 64,
  /** EX_UNAVAILABLE: the database cannot be reached, or refuses. */
  unavailable: 69,
  /** EX_SOFTWARE: an error of this program. */
  internal: 70,
  /** The command was ended because its lock was lost. timeout(1) uses the same number. */
  lost: 124,
  notExecutable: 126,
  notFound: 127,
  /**
   * If a signal ends the command, the exit code is this number plus the number of the signal.
   */
  signal: 128,
} as const;

export const EXIT_CODES_HELP = `
Exit codes:
  0        done; under hold, the command ended with 0
  1        hold: the lock is busy or paused (see --conflict-exit-code); release: it was not held
  64       the command line, the URL or the key cannot be used, or a package is missing.
  69       the database cannot be reached, refuses, or has no table for locks
  70       an error of this program
  124      hold: the lock was lost, and the command was stopped
  126,127  hold: the command cannot be executed, or does not exist
  128+n    hold: signal n ended the command, or the wait for the lock`;
