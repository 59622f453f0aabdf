/**
 * Every text that a value shows to code that looks: own properties, enumerable or not, with
 * names or symbols, getters of its classes, causes, errors in arrays, maps and sets, and bytes
 * as text and as hex.
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
    if (typeof found === 'function') return; // what a class or a method is made of is no secret
    for (let level: object | null = found; level && level !== Object.prototype;) {
      for (const property of Reflect.ownKeys(level)) {
        look(property);
        look(valueOf(found, property));
      }
      level = Object.getPrototypeOf(level);
    }
  }
}

/** Which of these owner ids a value shows: as text, in JSON, or as bytes. */
export function ownersIn(value: unknown, owners: Iterable<string>): string[] {
  const text = shownBy(value);
  return [...owners].filter((owner) => {
    const hex = Buffer.from(owner).toString('hex');
    const forms = [owner, JSON.stringify(owner).slice(1, -1), hex, Buffer.from(owner).toString('base64')];
    return forms.some((form) => text.includes(form) || text.includes(form.toUpperCase()));
  });
}

function valueOf(found: object, property: string | symbol): unknown {
  try {
    return Reflect.get(found, property);
  } catch (error) {
    return error; // of a getter that wants to be called on something else
  }
}
