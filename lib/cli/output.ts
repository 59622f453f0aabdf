/** Prints a line of the result to standard output, where only results go. */
export function printLine(line: string): void {
  process.stdout.write(`${line}\n`);
}

/**
 * Prints an object as one line of JSON. Infinity, the remaining time of a lock that never
 * expires, becomes null.
 */
export function printJson(value: object): void {
  printLine(JSON.stringify(value));
}

/**
 * Prints a warning to standard error, since a command under `hold` may use standard output.
 */
export function warn(message: string, json = false): void {
  const text = withoutPasswords(message);
  process.stderr.write(json ? `${JSON.stringify({ warning: text })}\n` : `nestjs-locked: ${text}\n`);
}

/** Hides the password of each URL in the text. */
export function withoutPasswords(text: string): string {
  return text.replaceAll(/(\/\/[^\s:@/]*:)\S*@/g, '$1***@');
}
