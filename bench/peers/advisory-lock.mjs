import advisory from 'advisory-lock';

/**
 * A peer that opens a connection for each lock, and waits on the server. It has no delay or
 * pool to tune.
 */
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
