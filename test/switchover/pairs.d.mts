import type { switchOver } from './switchover.mjs';

type Pair = Parameters<typeof switchOver>[0];

export const PAIRS: Record<'postgres' | 'mariadb' | 'mysql', () => Promise<Pair>>;
