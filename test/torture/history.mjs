import { closeSync, openSync, readSync } from 'node:fs';

const CHUNK = 1 << 16;
/**
 * A worker counts as the holder of a lock if `held` was true at most this many milliseconds
 * ago.
 */
const FRESH = 60;

/** The merged records of all workers. */
export class History {
  /**
   * The grants of workers: `{ id, worker, key, token, from, until, release, lost }`. A grant
   * without `from` came so late that `held` was never true.
   */
  holds = new Map();
  /** The writes of workers: `{ id, hold, kind, key, token, value, at, outcome }`. */
  writes = new Map();
  /** The times in which a worker wanted a key: `{ id, worker, key, from, until }`. */
  wants = new Map();
  /** Events that no fault explains: `{ worker, at, what }`. */
  oddities = [];
  counts = { acquired: 0, missed: 0, lost: 0, accepted: 0, refused: 0, unknown: 0, notStarted: 0 };
  /** The number of store failures by kind. */
  troubles = new Map();
  /** Failures that the library reported as permanent: `{ worker, at, what, error, cause }`. */
  permanent = [];
  #files = [];

  /** @param worker the id of one start of a worker process */
  follow(worker, path) {
    this.#files.push({ worker, file: openSync(path, 'a+'), position: 0, rest: '' });
  }

  /** Reads the lines that were added since the last call. */
  read() {
    for (const source of this.#files) {
      for (const line of linesOf(source)) this.#take(source.worker, JSON.parse(line));
    }
  }

  /** Records that a worker process has ended, so it no longer wants any key. */
  ended(worker, at) {
    for (const want of this.wants.values()) if (want.worker === worker) want.until = Math.min(want.until, at);
  }

  close() {
    for (const { file } of this.#files.splice(0)) closeSync(file);
  }

  /**
   * Returns the holds of the worker at this time, as far as its checks every few milliseconds
   * show.
   */
  heldBy(worker, at) {
    return [...this.holds.values()].filter(
      (hold) => hold.worker === worker && hold.until > at - FRESH && !(hold.release <= at),
    );
  }

  #take(worker, { event, at, ...details }) {
    const { id } = details;
    const hold = this.holds.get(id);
    switch (event) {
      case 'want':
        this.wants.set(id, { id, worker, key: details.key, from: at, until: Infinity });
        break;
      case 'hold': {
        const { key, token, held } = details;
        this.counts.acquired++;
        // There is no want if the caller belongs to a crowd, since such callers record only
        // grants.
        if (this.wants.has(id)) this.wants.get(id).until = at;
        this.holds.set(id, { id, worker, key, token, grantedAt: at, ...(held && { from: at, until: at }) });
        break;
      }
      case 'held':
        hold.from ??= at;
        hold.until = at;
        break;
      case 'revived':
        hold.until = at;
        this.oddities.push({
          worker,
          at,
          what: `it held "${hold.key}" (token ${hold.token}) again after it had not`,
        });
        break;
      case 'release':
        hold.release = at;
        break;
      case 'missed':
        if (this.wants.has(id)) this.wants.get(id).until = at;
        this.counts.missed++;
        if (details.unexpected) this.oddities.push({ worker, at, what: details.unexpected });
        this.#count(details, worker, at);
        break;
      case 'released':
        if (details.unexpected) this.oddities.push({ worker, at, what: details.unexpected });
        break;
      case 'lost':
        this.counts.lost++;
        break;
      case 'write':
        this.writes.set(id, { worker, at, ...details });
        break;
      case 'answer':
        Object.assign(this.writes.get(id), details);
        if (details.outcome in this.counts) this.counts[details.outcome]++;
        break;
      case 'trouble':
        this.#count(details, worker, at);
        break;
      case 'notStarted':
        this.counts.notStarted++;
        this.troubles.set(details.error, (this.troubles.get(details.error) ?? 0) + 1);
        break;
      case 'unhandled':
        this.oddities.push({ worker, at, what: `unhandled: ${details.error}` });
        break;
      case 'lingering':
        this.oddities.push({ worker, at, what: `it did not end by itself: ${details.by.join(', ')}` });
        break;
      default:
        throw new Error(`worker ${worker} recorded something unknown: ${event}`);
    }
  }

  #count({ what = 'acquire', error, permanent, cause }, worker, at) {
    const text = error
      .replace(/(LockNotAcquiredError).*/, '$1')
      .replaceAll(/"[^"]*"|-?\d+(?:\.\d+)? ms|:\d+/g, '…');
    const name = `${what}: ${text}`;
    this.troubles.set(name, (this.troubles.get(name) ?? 0) + 1);
    if (permanent && what !== 'acquire') this.permanent.push({ worker, at, what, error, cause });
  }
}

/**
 * Reads the complete lines that were added to a file. A killed worker may leave an incomplete
 * last line.
 */
function linesOf(source) {
  const buffer = Buffer.alloc(CHUNK);
  for (;;) {
    const length = readSync(source.file, buffer, 0, CHUNK, source.position);
    source.position += length;
    source.rest += buffer.toString('utf8', 0, length);
    if (length < CHUNK) break;
  }
  const lines = source.rest.split('\n');
  source.rest = lines.pop();
  return lines;
}
