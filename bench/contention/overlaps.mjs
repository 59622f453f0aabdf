/**
 * Returns all holds but the first. The property `took` of a hold is the time in milliseconds
 * from the end of the preceding hold to its start.
 *
 * @throws when two holders had the lock at once, since then the figures would be worthless
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
