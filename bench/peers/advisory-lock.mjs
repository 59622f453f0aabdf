import advisory from 'advisory-lock';

/** Opens a connection for each lock and waits on the server: nothing to tune. */
export const advisoryLock = {
  name: 'advisory-lock',
  kind: 'sql',
  stores: ['postgres'],
  variants: ['default'],
  lease: false,
  waiting: 'on the server',
  open({ url }) {
    const mutex = advisory.default(url);
    return { run: (key, body) => mutex(key).withLock(body), close() {} };
  },
};
