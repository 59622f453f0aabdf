/** Returns the name of a peer without that of its variant. */
export const libraryOf = (name) => name.replace(/, (default|tuned)$/, '');
