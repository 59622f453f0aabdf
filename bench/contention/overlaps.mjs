/**
 * The times between the end of each hold and the begin of the next, in milliseconds, with the hold that begins.
 *
 * @throws when two held the lock at once: figures of locks that do not exclude are worth nothing
 */
export function handOffs(holds) {
  const sorted = holds.toSorted((a, b) => a.from - b.from);
  const overlaps = sorted.slice(1).filter(({ from }, i) => from < sorted[i].until);
  if (overlaps.length > 0)
    throw new Error(
      `${overlaps.length} of ${holds.length} holds of one lock began before the one before had ended`,
    );
  return sorted.slice(1).map((hold, i) => ({ hold, took: hold.from - sorted[i].until }));
}
