/**
 * Returns milliseconds on a clock that never steps, and that all processes of a machine share.
 */
export const now = () => Number(process.hrtime.bigint()) / 1e6;
