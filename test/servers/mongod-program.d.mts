/** Whether a mongod can be started here; where it cannot, the caller's server is all that tests have. */
export function mongodRunsHere(): boolean;
