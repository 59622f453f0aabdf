/**
 * Returns the share of each process in all holds, and the ratio of the smallest share to the
 * largest.
 */
export function sharesOf(holders, processes) {
  const counts = Array.from({ length: processes }, (_, process) =>
    holders.reduce((count, holder) => (holder === process ? count + 1 : count), 0),
  );
  return {
    each: counts.map((count) => count / holders.length),
    smallestToLargest: Math.min(...counts) / Math.max(...counts),
  };
}
