import { closeSync, openSync, readSync } from 'node:fs';

const CHUNK = 1 << 16;
/** A worker that has not looked for so long was busy with something else, or had no reason to look. */
const FRESH = 60;

/** What all workers have told so far, put together from their records. */
export class History {
  /** What a worker got: `{ id, worker, key, token, from, until, release, lost }`; without `from` it never believed that it held it. */
  holds = new Map();
  /** What it wrote: `{ id, hold, kind, key, token, value, at, outcome }`. */
  writes = new Map();
  /** When it wanted a key: `{ id, worker, key, from, until }`. */
  wants = new Map();
  /** What no fault explains: `{ worker, at, what }`. */
  oddities = [];
  counts = { acquired: 0, missed: 0, lost: 0, accepted: 0, refused: 0, unknown: 0, notStarted: 0 };
  /** How often the store failed in which way. */
  troubles = new Map();
  /** Failures that were taken for ones that stay, `{ worker, at, what, error, cause }`. */
  permanent = [];
  #files = [];

  /** @param worker the id of one incarnation of a worker */
  follow(worker, path) {
    this.#files.push({ worker, file: openSync(path, 'a+'), position: 0, rest: '' });
  }

  /** Takes in what was written since the last time. */
  read() {
    for (const source of this.#files) {
      for (const line of linesOf(source)) this.#take(source.worker, JSON.parse(line));
    }
  }

  /** Whoever has died wants nothing any more. */
  ended(worker, at) {
    for (const want of this.wants.values()) if (want.worker === worker) want.until = Math.min(want.until, at);
  }

  close() {
    for (const { file } of this.#files.splice(0)) closeSync(file);
  }

  /** The holds in which a worker believed at that moment, as far as is known: it looks every few milliseconds. */
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
        if (this.wants.has(id)) this.wants.get(id).until = at; // callers of a crowd tell only what they got
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

/** The complete lines that were added to a file. A worker that was killed may leave half a line. */
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
