/**
 * Returns the value below which this share (0 to 1) of the values lies. The values need not be
 * sorted.
 */
export function quantile(values, share) {
  return quantileOfSorted(Float64Array.from(values).sort(), share);
}

export function median(values) {
  return quantile(values, 0.5);
}

export function mean(values) {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Returns the percentiles, mean, maximum and count of a series of times. */
export function summaryOf(values) {
  const sorted = Float64Array.from(values).sort();
  const [p50, p90, p99] = [0.5, 0.9, 0.99].map((share) => quantileOfSorted(sorted, share));
  return { p50, p90, p99, mean: mean(values), max: sorted.at(-1), count: values.length };
}

/**
 * Describes the ratio of two contestants: `ratio` is the overall ratio, and 80 % of the blocks
 * lie between `low` and `high`.
 */
export function comparisonOf(ratio, ratiosOfBlocks) {
  const low = quantile(ratiosOfBlocks, 0.1);
  const high = quantile(ratiosOfBlocks, 0.9);
  return { ratio, low, high, inconclusive: low < ratio * 0.9 || high > ratio * 1.1 };
}

/**
 * Compares two contestants that were measured in the same blocks: divides the values of the
 * first by those of the second.
 */
export function comparisonOfSeries(values, others) {
  return comparisonOf(
    median(values) / median(others),
    values.map((value, i) => value / others[i]),
  );
}

function quantileOfSorted(sorted, share) {
  if (sorted.length === 0) return NaN;
  const place = share * (sorted.length - 1);
  const below = Math.floor(place);
  const above = Math.ceil(place);
  return sorted[below] + (sorted[above] - sorted[below]) * (place - below);
}
