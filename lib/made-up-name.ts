/** One or two characters (`o`, `t1`, `_a`), three that do not begin as a class does (`e3f`), or `class_1`, `_class2`, `default_1`. */
const MADE_UP = /^(?:[\w$]{1,2}|[a-z_$][\w$]{2}|_?(?:class|default|anonymous)_?\d*)$/;

/** Whether a class name looks as if a bundler or a compiler had made it up: then it differs from build to build. */
export function isMadeUp(className: string): boolean {
  return MADE_UP.test(className);
}
