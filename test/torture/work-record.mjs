import { openSync, writeSync } from 'node:fs';
import { now } from './terms.mjs';

/**
 * Writes the events of a worker as lines to a file, so that they survive when the process is
 * killed.
 */
export class WorkRecord {
  #file;

  constructor(path) {
    this.#file = openSync(path, 'a');
  }

  add(event, details, at = now()) {
    writeSync(this.#file, `${JSON.stringify({ event, at, ...details })}\n`);
  }
}
