/** A planned event. It happens at the time `at` unless it is cancelled before. */
export class Appointment {
  constructor(
    readonly at: number,
    readonly order: number,
    private happen: (() => void) | undefined,
  ) {}

  get cancelled(): boolean {
    return this.happen === undefined;
  }

  cancel(): void {
    this.happen = undefined;
  }

  keep(): void {
    this.happen?.();
  }

  before(other: Appointment): boolean {
    return this.at < other.at || (this.at === other.at && this.order < other.order);
  }
}

/**
 * The time of a simulated world in whole milliseconds, with its future events. Events happen
 * one after the other, in an order that depends only on how they were planned, and no real
 * time passes between them.
 */
export class Timeline {
  #now = 0;
  #order = 0;
  // A binary heap of the planned events. Its first element is the next event.
  readonly #heap: Appointment[] = [];

  get now(): number {
    return this.#now;
  }

  in(ms: number, happen: () => void): Appointment {
    const appointment = new Appointment(this.#now + Math.max(0, ms), this.#order++, happen);
    this.#push(appointment);
    return appointment;
  }

  /**
   * Lets all events happen until this time. `after` runs after each event, when its promises
   * have settled; if `after` returns `false`, the play ends early.
   */
  async goOn(until: number, after: () => boolean): Promise<void> {
    await settle();
    for (let next = this.#heap[0]; next && next.at <= until; next = this.#heap[0]) {
      this.#pop();
      if (next.cancelled) continue;
      this.#now = next.at;
      next.keep();
      await settle();
      if (!after()) return;
    }
    this.#now = until;
  }

  #push(appointment: Appointment): void {
    const heap = this.#heap;
    let place = heap.push(appointment) - 1;
    while (place > 0) {
      const above = (place - 1) >> 1;
      const parent = heap[above] as Appointment;
      if (!appointment.before(parent)) break;
      heap[place] = parent;
      place = above;
    }
    heap[place] = appointment;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Appointment;
    if (heap.length === 0) return;
    let place = 0;
    for (;;) {
      let below = 2 * place + 1;
      const right = heap[below + 1];
      if (right?.before(heap[below] as Appointment)) below++;
      const child = heap[below];
      if (!child?.before(last)) break;
      heap[place] = child;
      place = below;
    }
    heap[place] = last;
  }
}

/**
 * Waits until all promises have settled that wait for no event, and until Node has reported
 * unhandled rejections.
 */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
