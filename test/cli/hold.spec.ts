import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { cliDatabases, type CliDatabase } from './cli-database.js';
import { CliProcesses } from './cli-process.js';
import { runCli } from './run-cli.js';

for (const { name, open } of cliDatabases('sqlite')) {
  describe(`nestjs-locked hold on ${name}`, () => {
    const processes = new CliProcesses(() => database.env);
    let database: CliDatabase;

    beforeAll(async () => {
      database = await open();
      await database.query((await runCli(['ddl'], database.env)).stdout);
    });
    afterEach(() => processes.killAll());
    afterAll(() => database.dispose());

    const hold = (key: string, ...args: string[]) => processes.run(['hold', key, ...args]);
    const stateOf = async (key: string) =>
      JSON.parse((await runCli(['inspect', key, '--json'], database.env)).stdout).state;

    it('B79 hold has the exit codes of a shell: 127, 126, and 128+n for a signal', async () => {
      const missing = await hold('codes', '--', 'no-such-command', '--help');
      expect(missing).toMatchObject({
        code: 127,
        stdout: '',
        stderr: 'nestjs-locked: There is no command "no-such-command".\n',
      });
      expect(await hold('codes', '--', '/etc/passwd')).toMatchObject({ code: 126 });
      expect(await hold('codes', '--', './package.json/x')).toMatchObject({ code: 127 });
      expect(await hold('codes', '--', 'sh', '-c', 'kill -9 $$')).toMatchObject({ code: 137 });
      expect(await stateOf('codes')).toBe('free');
    });

    it('B79 hold without a command shows its usage', async () => {
      const { code, stderr } = await hold('codes');
      expect(code).toBe(64);
      expect(stderr).toBe(
        'nestjs-locked: hold needs a command to run: nestjs-locked hold KEY -- command [argument...]\n',
      );
    });

    it('B79 hold gives its input, and all arguments after --, to the command', async () => {
      const cli = processes.start(['hold', 'input', '--', 'cat', '--', '-']);
      cli.write('line\n');
      await cli.says(/^line$/m);
      cli.endInput();
      expect(await cli.ended).toMatchObject({ code: 0, stdout: 'line\n' });
    });

    it('B52 hold renews the lock as long as the command runs', async () => {
      const holder = await processes.hold('long', '--ttl', '1s');
      const until = async () =>
        JSON.parse((await runCli(['inspect', 'long', '--json'], database.env)).stdout).holder;
      const { expiresAt, fencingToken } = await until();
      for (;;) {
        const later = await until();
        expect(later.fencingToken).toBe(fencingToken);
        // A renewal after the end of the first lease proves that hold renews the lock.
        if (Date.parse(later.renewedAt) > Date.parse(expiresAt)) break;
      }
      holder.endInput();
      expect(await holder.ended).toMatchObject({ code: 0, stderr: '' });
    });

    it('B12 hold forwards SIGTERM to the command and releases the lock after the command has ended', async () => {
      const script = `trap 'echo told; cat >/dev/null; exit 3' TERM; echo ready; while :; do sleep 0.05; done`;
      const cli = processes.start(['hold', 'stopped', '--ttl', '10m', '--', 'sh', '-c', script]);
      await cli.says(/^ready$/m);
      cli.signal('SIGTERM');
      await cli.says(/^told$/m);
      // The command still waits for the end of its input, so hold keeps the lock.
      expect(await stateOf('stopped')).toBe('held');
      cli.endInput();
      expect(await cli.ended).toMatchObject({ code: 3, signal: null });
      expect(await stateOf('stopped')).toBe('free');
    });

    it('B21 a signal ends a hold that waits for its key', async () => {
      const holder = await processes.hold('awaited');
      const waiting = processes.start(['hold', 'awaited', '--wait', '10m', '--', 'echo', 'ran'], {
        NODE_OPTIONS: `--import "data:text/javascript,process.on('newListener', (name) => console.error(name))"`,
      });
      await waiting.says(/^SIGINT$/m);
      waiting.signal('SIGINT');
      expect(await waiting.ended).toMatchObject({ code: 130, signal: null, stdout: '' });
      holder.endInput();
      expect(await holder.ended).toMatchObject({ code: 0 });
    });

    it('B28 the key of a killed hold is free after its ttl', async () => {
      const holder = await processes.hold('killed', '--ttl', '2s');
      holder.signal('SIGKILL');
      const next = await hold('killed', '--wait', '1m', '--', 'echo', 'ran');
      expect(next).toMatchObject({ code: 0, stdout: 'ran\n' });
    });

    it('B55 after a loss, hold kills a command that ignores SIGTERM', async () => {
      const script = `trap '' TERM; echo ready; while :; do sleep 0.05; done`;
      const args = ['--ttl', '1s', '--kill-after', '300ms', '--', 'sh', '-c', script];
      const cli = processes.start(['hold', 'stubborn', ...args]);
      await cli.says(/^ready$/m);
      await runCli(['release', 'stubborn', '--reason', 'a drill'], database.env);
      expect(await cli.ended).toMatchObject({ code: 124, signal: null });
    });

    it('B56 hold reports a loss even if its command exits with code 0 after SIGTERM', async () => {
      const script = `trap 'echo cleaned; exit 0' TERM; echo ready; while :; do sleep 0.05; done`;
      const cli = processes.start(['hold', 'graceful', '--ttl', '1s', '--', 'sh', '-c', script]);
      await cli.says(/^ready$/m);
      await runCli(['release', 'graceful', '--reason', 'a drill'], database.env);
      expect(await cli.ended).toMatchObject({ code: 124, stdout: 'ready\ncleaned\n' });
    });

    it('B79 with --json, hold prints a refusal as a JSON object', async () => {
      const holder = await processes.hold('busy');
      const { code, stderr } = await hold('busy', '--json', '--', 'true');
      expect(code).toBe(1);
      expect(JSON.parse(stderr)).toEqual({
        error: {
          name: 'LockNotAcquiredError',
          message: expect.stringContaining('Lock "busy" was not acquired'),
          exitCode: 1,
        },
      });
      holder.endInput();
      await holder.ended;
    });
  });
}
