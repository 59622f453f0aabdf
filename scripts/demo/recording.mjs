import { writeFileSync } from 'node:fs';
import { renderTable } from './table.mjs';

/** Keeps what a terminal would show, to make a picture of it. */
export class Recording {
  #file;
  #frames = [];

  constructor(file) {
    this.#file = file;
  }

  draw(view) {
    this.#frames.push({ at: view.elapsed, lines: renderTable(view) });
  }

  end(summary) {
    writeFileSync(this.#file, JSON.stringify({ frames: this.#frames, summary }));
  }
}
