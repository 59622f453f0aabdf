/**
 * The holds but the first, each with `took`: the milliseconds from the end of the one before to its begin.
 *
 * @throws when two held the lock at once: figures of locks that do not exclude are worth nothing
 */
export function handOffs(holds) {
  const sorted = holds.toSorted((a, b) => a.from - b.from);
  const found = sorted.slice(1).map((hold, i) => ({ ...hold, took: hold.from - sorted[i].until }));
  const overlaps = found.filter(({ took }) => took < 0);
  if (overlaps.length > 0)
    throw new Error(
      `${overlaps.length} of ${holds.length} holds of one lock began before the one before had ended`,
    );
  return found;
}
