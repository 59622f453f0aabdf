import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { cliDatabases, type CliDatabase } from './cli-database.js';
import { CliProcesses } from './cli-process.js';
import { runCli } from './run-cli.js';

for (const { name, open } of cliDatabases('sqlite', 'postgres', 'mongodb')) {
  describe(`nestjs-locked on ${name}`, () => {
    const processes = new CliProcesses(() => database.env);
    let database: CliDatabase;

    beforeAll(async () => {
      database = await open();
    });
    afterEach(() => processes.killAll());
    afterAll(() => database.dispose());

    const cli = (...args: string[]) => runCli([...args, ...database.args], database.env);
    const hold = (key: string, ...args: string[]) => processes.run(['hold', key, ...database.args, ...args]);
    const linesOf = (text: string) => text.trim().split('\n');

    // This test comes first, because it creates the table that the other tests need.
    if (name !== 'mongodb')
      it('B11 if the table is missing, list names the command ddl, which prints its definition', async () => {
        const { code, stdout, stderr } = await cli('list');
        expect({ code, stdout }).toEqual({ code: 69, stdout: '' });
        expect(stderr).toMatch(
          /^nestjs-locked: The table (public|main)\.locks is missing.*npx nestjs-locked ddl.*\n$/,
        );

        const ddl = await cli('ddl');
        expect(ddl).toMatchObject({ code: 0, stderr: '' });
        await database.query(ddl.stdout);
        expect(await cli('list')).toMatchObject({ code: 0, stdout: '0 locks held\n', stderr: '' });
      });

    it('B70 list and inspect show which keys are held, with which label and which token', async () => {
      const holder = await processes.hold('orders', '--label', 'the nightly job', ...database.args);
      const [, token] = await holder.says(/held orders (\d+)/);

      const [titles, ...rows] = linesOf((await cli('list')).stdout);
      expect(titles).toMatch(/^KEY +LABEL +SINCE +UNTIL +LEFT +TOKEN$/);
      expect(rows).toEqual([expect.stringMatching(`^orders  the nightly job  .*s  ${token}$`)]);
      const listed = JSON.parse((await cli('list', '--json')).stdout);
      expect(listed).toMatchObject({
        key: 'orders',
        label: 'the nightly job',
        fencingToken: Number(token),
        remaining: expect.any(Number),
      });

      const { stdout } = await cli('inspect', 'orders');
      expect(stdout).toMatch(/^state +held$/m);
      expect(stdout).toMatch(/^label +the nightly job$/m);
      expect(stdout).toMatch(/^until .*left$/m);
      holder.endInput();
      expect(await holder.ended).toMatchObject({ code: 0 });

      expect(JSON.parse((await cli('inspect', 'orders', '--json')).stdout)).toMatchObject({
        state: 'free',
        lastRun: { label: 'the nightly job', outcome: 'done' },
      });
    });

    it('B79 hold ends with the exit code of its command and records a failure', async () => {
      const command = ['sh', '-c', 'echo out; echo err >&2; exit 7'];
      expect(await hold('failing', '--', ...command)).toEqual({
        code: 7,
        signal: null,
        stdout: 'out\n',
        stderr: 'err\n',
      });
      expect((await cli('inspect', 'failing')).stdout).toMatch(/^last run +failed, by /m);
    });

    // The following tests run on two databases only, because each command starts a process.
    // The specs of the stores cover the other databases.
    if (name !== 'sqlite' && name !== 'postgres') return;

    it('B79 a second hold of a key is refused, or runs after the first one if it waits', async () => {
      const first = await processes.hold('shared', '--label', 'the first', ...database.args);
      const busy = await hold('shared', '--', 'echo', 'ran');
      expect(busy).toMatchObject({ code: 1, stdout: '' });
      expect(busy.stderr).toMatch(
        /^nestjs-locked: Lock "shared" was not acquired .* held by the first since .*\n$/,
      );
      const other = await hold('shared', '-n', '-E', '9', '--', 'echo', 'ran');
      expect(other).toMatchObject({ code: 9, stdout: '' });

      const waiting = ['hold', 'shared', '--wait', 'Infinity', ...database.args, '--', 'echo', 'ran'];
      const second = processes.start(waiting);
      first.endInput();
      expect(await first.ended).toMatchObject({ code: 0 });
      expect(await second.ended).toMatchObject({ code: 0, stdout: 'ran\n', stderr: '' });
    });

    it('B71 the command release frees a key, and the hold that loses the key stops its command', async () => {
      const args = ['--ttl', '1500ms', '--label', 'robbed', ...database.args];
      const holder = await processes.hold('robbed', ...args);
      const released = await cli('release', 'robbed', '--reason', 'a drill');
      expect(released).toMatchObject({ code: 0, stderr: '' });
      expect(released.stdout).toMatch(/^Released "robbed", which was held by robbed since .*: a drill\n$/);

      const { code, stderr } = await holder.ended;
      expect(code).toBe(124);
      expect(stderr).toMatch(
        /Lock "robbed" is lost\. The command is stopped\.\n.*Lock "robbed" \(token \d+\) was lost: .*\n$/,
      );
      const again = await cli('release', 'robbed', '--reason', 'a drill');
      expect(again).toMatchObject({ code: 1, stdout: '"robbed" was not held.\n' });
    });

    it('B72 purge deletes keys that are free', async () => {
      await hold('used-up', '--', 'true');
      expect(await cli('purge', '--older-than', '1d')).toMatchObject({ stdout: '0 keys deleted\n' });
      expect((await cli('inspect', 'used-up')).stdout).toContain('last run');
      const { purged } = JSON.parse((await cli('purge', '--older-than', '0', '--json')).stdout);
      expect(purged).toBeGreaterThan(0);
      expect((await cli('inspect', 'used-up')).stdout).not.toContain('last run');
    });

    it('B73 a paused key cannot be acquired until it is resumed, and the refusal names the command resume', async () => {
      expect(await cli('pause', 'halted')).toMatchObject({ code: 0, stdout: '"halted" is paused.\n' });
      expect((await cli('inspect', 'halted')).stdout).toMatch(/^state +free, paused: /m);
      const run = () => hold('halted', '--wait', '1m', '--', 'echo', 'ran');
      expect(await run()).toMatchObject({
        code: 1,
        stdout: '',
        stderr: expect.stringMatching(
          /it is paused, for all instances. Run nestjs-locked resume to end the pause/,
        ),
      });
      expect((await cli('resume', 'halted', '--json')).stdout).toBe(
        '{"key":"halted","paused":false,"changed":true}\n',
      );
      expect(await run()).toMatchObject({ code: 0, stdout: 'ran\n' });
    });

    it('B42 --prefix limits the commands to the keys of one application', async () => {
      const held = await processes.hold('mine', '--prefix', 'billing', ...database.args);
      expect((await cli('list', '--prefix', 'billing')).stdout).toMatch(/^mine /m);
      expect((await cli('list')).stdout).toMatch(/^billing:mine /m);
      expect((await cli('list', '--prefix', 'other')).stdout).toBe('0 locks held\n');
      held.endInput();
      await held.ended;
    });
  });
}
