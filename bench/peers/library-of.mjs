/** The name of a peer, without its variant. */
export const libraryOf = (name) => name.replace(/, (default|tuned)$/, '');
