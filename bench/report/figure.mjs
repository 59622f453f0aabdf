/** Formats a number with three significant digits, for people to read. */
export function figure(value) {
  if (typeof value !== 'number') return value === undefined ? '' : String(value);
  if (!Number.isFinite(value) || Number.isInteger(value)) return value.toLocaleString('en');
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en');
  return String(Number(value.toPrecision(3)));
}
