import { openSync, writeSync } from 'node:fs';
import { now } from './terms.mjs';

/** The events of a worker as lines of a file. They survive when the process is killed. */
export class WorkRecord {
  #file;

  constructor(path) {
    this.#file = openSync(path, 'a');
  }

  add(event, details, at = now()) {
    writeSync(this.#file, `${JSON.stringify({ event, at, ...details })}\n`);
  }
}
