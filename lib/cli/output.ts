/** Everything for other programs goes here, and nothing else. */
export function printLine(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** One object as one line. A number that JSON does not know, such as what remains of a lock that never expires, is null. */
export function printJson(value: object): void {
  printLine(JSON.stringify(value));
}

/** What has to be known while the output of a command goes to standard output. */
export function warn(message: string, json = false): void {
  const text = withoutPasswords(message);
  process.stderr.write(json ? `${JSON.stringify({ warning: text })}\n` : `nestjs-locked: ${text}\n`);
}

/** Blackens what stands between user and host of a URL, wherever it is quoted from. */
export function withoutPasswords(text: string): string {
  return text.replaceAll(/(\/\/[^\s:@/]*:)\S*@/g, '$1***@');
}
