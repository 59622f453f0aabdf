import { acceptedBy, describeLock, eventLine, renderTable } from './table.mjs';

const COLOURS = { strong: 1, faint: 2, bad: 31, good: 32, cold: 36 };

/**
 * Opens a screen: a terminal shows a table that is redrawn in place; any other stream gets a
 * line for each change.
 */
export function openScreen(stream) {
  return stream.isTTY && process.env.TERM !== 'dumb' ? new LiveScreen(stream) : new PlainScreen(stream);
}

class LiveScreen {
  #stream;
  #height = 0;

  constructor(stream) {
    this.#stream = stream;
    stream.write('\x1b[?25l'); // hides the cursor
    process.once('exit', () => stream.write('\x1b[?25h'));
  }

  draw(view) {
    const columns = this.#stream.columns || 80; // some terminals report 0 columns
    const rows = this.#stream.rows || 24;
    // The table has at most as many lines as the screen, since lines that have scrolled away
    // cannot be redrawn.
    const lines = renderTable(view).slice(0, rows - 1);
    const text = lines.map((line) => `${this.#paint(line, columns - 1)}\x1b[K\n`).join('');
    this.#stream.write((this.#height > 0 ? `\x1b[${this.#height}A` : '') + text);
    this.#height = lines.length;
  }

  end(summary) {
    for (const line of summary) this.#stream.write(`${this.#paint(line)}\n`);
  }

  #paint(line, width = Infinity) {
    const colours = this.#stream.hasColors();
    let left = width;
    return line
      .map(([text, style]) => {
        const cut = text.slice(0, left);
        left -= cut.length;
        return colours && style in COLOURS ? `\x1b[${COLOURS[style]}m${cut}\x1b[0m` : cut;
      })
      .join('');
  }
}

class PlainScreen {
  #stream;
  #events = 0;
  #token;

  constructor(stream) {
    this.#stream = stream;
  }

  draw({ elapsed, instances, lock, runs, events }) {
    for (const event of events.slice(this.#events)) this.#write(eventLine(event));
    this.#events = events.length;
    if (!lock || lock.token === this.#token) return;
    this.#token = lock.token;
    const figures = instances.map((one) => `${one.name} ${acceptedBy(one, runs)}/${one.skips}`).join(', ');
    this.#write(
      eventLine({
        at: elapsed,
        text: `${lock.holder} holds the lock, ${describeLock(lock)}; runs/skips: ${figures}`,
      }),
    );
  }

  end(summary) {
    for (const line of summary) this.#write(line);
  }

  #write(line) {
    this.#stream.write(`${line.map(([text]) => text).join('')}\n`);
  }
}
