/**
 * Shows the progress of the torture: on a terminal as a table that is redrawn, elsewhere as a
 * line every few seconds.
 */
export function openProgress(stream) {
  return stream.isTTY && process.env.TERM !== 'dumb' ? new LiveProgress(stream) : new PlainProgress(stream);
}

const EVERY = 5_000;

class PlainProgress {
  #stream;
  #last = -Infinity;
  #phase;

  constructor(stream) {
    this.#stream = stream;
  }

  show(view) {
    const at = performance.now();
    if (view.phase === this.#phase && at - this.#last < EVERY) return;
    this.#phase = view.phase;
    this.#last = at;
    this.#stream.write(
      `${view.store.padEnd(9)} ${clock(view)}  ${view.phase.padEnd(22)}  ${figures(view).join(', ')}\n`,
    );
  }

  end(line) {
    this.#stream.write(`${line}\n`);
    this.#phase = undefined;
  }
}

class LiveProgress {
  #stream;
  #height = 0;

  constructor(stream) {
    this.#stream = stream;
  }

  show(view) {
    const lines = [
      `${view.store}  ${view.phase}  ${clock(view)} of about ${view.seconds} s  seed ${view.seed}`,
      view.workers.map(({ name, state }) => `${name} ${MARKS[state] ?? '·'}`).join('  '),
      ...figures(view),
      `now: ${view.present.join(', ') || 'nothing'}`,
    ];
    const width = (this.#stream.columns || 80) - 1;
    const text = lines.map((line) => `${line.slice(0, width)}\x1b[K\n`).join('');
    this.#stream.write((this.#height > 0 ? `\x1b[${this.#height}A` : '') + text);
    this.#height = lines.length;
  }

  end(line) {
    this.#stream.write(`${line}\n`);
    this.#height = 0;
  }
}

const MARKS = { starting: '…', running: '▶', frozen: '❄', dead: '✗' };

function clock({ elapsed }) {
  return `${elapsed.toFixed(0).padStart(4)} s`;
}

function figures({ counts, faults, violations }) {
  const { acquired, lost, refused, unknown } = counts;
  return [
    `${acquired} acquisitions, ${faults} faults, ${violations} violations`,
    `${lost} losses noticed, ${refused} stale writes refused, ${unknown} writes with unknown outcome`,
  ];
}
