/**
 * Matches `o`, `t1` and `_a`, three characters that do not begin like a class (`e3f`), and
 * `class_1`, `_class2`, `default_1`.
 */
const MINIFIED = /^(?:[\w$]{1,2}|[a-z_$][\w$]{2}|_?(?:class|default|anonymous)_?\d*)$/;

/**
 * Whether a class name looks as if a minifier or a compiler had made it, so that it may differ
 * from build to build.
 */
export function isMinifiedName(className: string): boolean {
  return MINIFIED.test(className);
}
