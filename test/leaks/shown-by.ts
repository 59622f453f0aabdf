/**
 * Returns all texts that code can read from a value: own properties (enumerable or not, named
 * by strings or symbols), getters of its classes, causes, and errors in arrays, maps and sets.
 * Bytes are read as text and as hexadecimal digits.
 */
export function shownBy(value: unknown): string {
  const texts: string[] = [];
  const seen = new Set<unknown>();
  look(value);
  return texts.join('\n');

  function look(found: unknown): void {
    if (typeof found === 'string') texts.push(found);
    if (typeof found === 'symbol' || typeof found === 'bigint') texts.push(String(found));
    if ((typeof found !== 'object' && typeof found !== 'function') || found === null || seen.has(found))
      return;
    seen.add(found);
    if (found instanceof Uint8Array)
      return void texts.push(Buffer.from(found).toString(), Buffer.from(found).toString('hex'));
    if (found instanceof Map || found instanceof Set) for (const entry of found) look(entry);
    // Functions and classes are skipped, because their source contains no secret.
    if (typeof found === 'function') return;
    for (let level: object | null = found; level && level !== Object.prototype;) {
      for (const property of Reflect.ownKeys(level)) {
        look(property);
        look(valueOf(found, property));
      }
      level = Object.getPrototypeOf(level);
    }
  }
}

/** Returns those of the given owner ids that the value shows as text, in JSON or as bytes. */
export function ownersIn(value: unknown, owners: Iterable<string>): string[] {
  const text = shownBy(value);
  return [...owners].filter((owner) => formsOf(owner).some((form) => text.includes(form)));
}

/**
 * Owner ids with fewer letters than this are left out of the index, because they also occur in
 * ordinary words.
 */
const START = 8;

/**
 * Finds many owner ids in a text at once: a spec has tens of thousands of ids and thousands of
 * errors.
 */
export class OwnerIndex {
  readonly #owners = new Set<string>();
  /** The forms in which a text may show an owner id, by the first letters of the form. */
  readonly #forms = new Map<string, { form: string; owner: string }[]>();

  /**
   * Adds an owner id. Ids with fewer than eight letters, which many specs use, are left out
   * because they also occur in ordinary words.
   */
  add(owner: string): void {
    if (owner.length < START || this.#owners.has(owner)) return;
    this.#owners.add(owner);
    for (const form of formsOf(owner)) {
      const start = form.slice(0, START);
      const alike = this.#forms.get(start);
      if (alike) alike.push({ form, owner });
      else this.#forms.set(start, [{ form, owner }]);
    }
  }

  shownBy(value: unknown): string[] {
    const text = shownBy(value);
    const found = new Set<string>();
    for (let at = 0; at + START <= text.length; at++)
      for (const { form, owner } of this.#forms.get(text.slice(at, at + START)) ?? [])
        if (text.startsWith(form, at)) found.add(owner);
    return [...found];
  }
}

function formsOf(owner: string): string[] {
  const bytes = Buffer.from(owner);
  const forms = [owner, JSON.stringify(owner).slice(1, -1), bytes.toString('hex'), bytes.toString('base64')];
  return [...new Set(forms.flatMap((form) => [form, form.toUpperCase()]))];
}

function valueOf(found: object, property: string | symbol): unknown {
  try {
    return Reflect.get(found, property);
  } catch (error) {
    // A getter may throw without the right `this`. Its error is then searched instead of a
    // value.
    return error;
  }
}
