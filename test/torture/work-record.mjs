import { openSync, writeSync } from 'node:fs';
import { now } from './terms.mjs';

/** What a worker tells of itself, line by line, in a file: what was written stays when the process is killed. */
export class WorkRecord {
  #file;

  constructor(path) {
    this.#file = openSync(path, 'a');
  }

  add(event, details, at = now()) {
    writeSync(this.#file, `${JSON.stringify({ event, at, ...details })}\n`);
  }
}
