import { Recording } from './recording.mjs';
import { openScreen } from './screen.mjs';

/** Shows the demo: a table that is refreshed ten times a second, and the events so far. */
export class Show {
  /** The view of the database; undefined until the first instance has created it. */
  database;
  #events = [];
  #began = performance.now();
  #instances;
  #screens;
  #refresh = setInterval(() => this.#draw(), 100);

  constructor(instances, recordTo) {
    this.#instances = instances;
    this.#screens = [openScreen(process.stdout), ...(recordTo ? [new Recording(recordTo)] : [])];
  }

  /** @param kind `fault` for an attack of the demo on an instance, `effect` for its result */
  tell(text, kind) {
    this.#events.push({ at: this.#elapsed, text, kind });
    this.#draw();
  }

  end(summary) {
    clearInterval(this.#refresh);
    this.#draw();
    for (const screen of this.#screens) screen.end(summary);
  }

  get #elapsed() {
    return (performance.now() - this.#began) / 1000;
  }

  #draw() {
    const view = {
      elapsed: this.#elapsed,
      instances: this.#instances,
      lock: this.database?.lock,
      runs: this.database?.runs ?? [],
      events: this.#events,
      now: Date.now(), // the clock of SQLite is that of the machine
    };
    for (const screen of this.#screens) screen.draw(view);
  }
}
