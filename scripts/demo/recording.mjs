import { writeFileSync } from 'node:fs';
import { renderTable } from './table.mjs';

/** Records the screens of a terminal, so that a picture can be made of them. */
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
