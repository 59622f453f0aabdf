import { afterEach, describe, expect, it } from '@jest/globals';
import type { Target } from '../servers/targets.js';
import { targetsAmong } from '../stores/typeorm/fixture.js';
import { FrozenWriters, type Findings } from './frozen-writers.js';

/**
 * The number of rounds on each database. By default, the test plays only a few rounds on
 * PostgreSQL, so that it stays short.
 */
const given = Number(process.env.FROZEN_WRITERS_ROUNDS ?? 0);
const ROUNDS = given || 6;
const targets = given
  ? targetsAmong('sqlite', 'postgres', 'mariadb', 'mysql', 'mysql56')
  : targetsAmong('postgres');

for (const { name, open } of targets)
  describe(`a holder on ${name} that is frozen at random moments, for longer than its ttl`, () => {
    let target: Target | undefined;
    let writers: FrozenWriters | undefined;
    afterEach(async () => {
      await writers?.stop();
      await target?.dispose();
    });

    async function play(
      mode: 'guarded' | 'unguarded',
      rounds: number,
      enough?: (findings: Findings) => boolean,
    ) {
      target = await open();
      writers = await FrozenWriters.start(target.options, mode);
      const findings = await writers.play(rounds, enough);
      if (given) console.warn(`${name}, ${mode}: ${JSON.stringify(findings)}`);
      return findings;
    }
    // The limit is long, because a SQLite writer that is frozen during a write blocks the
    // other writer for seconds.
    const timeout = 30_000 + given * 10_000;

    it(
      'B91 in lock.transaction(), a frozen holder commits nothing after the next holder has written',
      async () => {
        const { rounds, late } = await play('guarded', ROUNDS);
        expect({ rounds, late }).toEqual({ rounds: ROUNDS, late: 0 });
      },
      timeout,
    );

    it(
      'B91 without lock.transaction(), a frozen holder does commit after the next holder has written',
      async () => {
        const { late } = await play('unguarded', given || 20, given ? undefined : (found) => found.late > 0);
        expect(late).toBeGreaterThan(0);
      },
      timeout,
    );
  });
