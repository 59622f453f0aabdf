/** Turns `{ port: 1, 'skip-log-bin': true }` into `['--port=1', '--skip-log-bin']`. */
export function flags(options) {
  return Object.entries(options).map(([name, value]) =>
    value === true ? `--${name}` : `--${name}=${value}`,
  );
}
