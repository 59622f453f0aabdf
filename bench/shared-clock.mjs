/** Milliseconds on the clock that never steps, and that all processes of a machine have in common. */
export const now = () => Number(process.hrtime.bigint()) / 1e6;
