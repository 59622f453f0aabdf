import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { TypeOrmLockStore } from '../../lib/stores/typeorm/index.js';
import { DataSource } from 'typeorm';
import { TcpProxy } from '../stores/tcp-proxy.js';
import { cliDatabases, type CliDatabase } from './cli-database.js';
import { CliProcesses } from './cli-process.js';
import { runCli } from './run-cli.js';

/** Matches the first characters of a terminal's control sequence in a regular expression. */
const ESCAPE = '\x1b\\[\\?';

for (const { name, open } of cliDatabases('sqlite')) {
  describe(`nestjs-locked watch on ${name}`, () => {
    const processes = new CliProcesses(() => database.env);
    let database: CliDatabase;
    let store: TypeOrmLockStore;
    let dataSource: DataSource;

    beforeAll(async () => {
      database = await open();
      const file = database.env.LOCKS_URL.replace('sqlite:', '');
      dataSource = await new DataSource({ type: 'better-sqlite3', database: file }).initialize();
      store = new TypeOrmLockStore(dataSource);
      await store.prepare();
    });
    afterEach(() => processes.killAll());
    afterAll(async () => {
      await store.close();
      await dataSource.destroy();
      await database.dispose();
    });

    it('B79 in a pipe, watch prints a line for each change until it is stopped', async () => {
      await store.acquire('early', 'owner-1', 600_000, { label: 'api-1' });
      const watch = processes.start(['watch', '--interval', '100ms']);
      await watch.says(/^.{20} {2}seen   1 lock held\n.{20} {2}held   early {2}api-1 since .* left\n/);
      await store.acquire('late', 'owner-2', 600_000, { label: 'api-2' });
      await watch.says(/^.{20} {2}held   late {2}api-2 since /m);
      await store.release('early', 'owner-1');
      await watch.says(/^.{20} {2}free   early {2}api-1 since .*\(token \d+\)\n/m);
      // The key is released and acquired again between two polls. The new token shows watch
      // that this is another lock.
      await store.release('late', 'owner-2');
      await store.acquire('late', 'owner-3', 600_000, { label: 'api-3' });
      await watch.says(/free   late {2}api-2 .*\n.*held   late {2}api-3 /);
      await store.release('late', 'owner-3');
      await watch.says(/free   late {2}api-3/);
      watch.signal('SIGINT');
      expect(await watch.ended).toMatchObject({ code: 0, stderr: '' });
    });

    it('B79 with --json, watch prints each change as a JSON object', async () => {
      const watch = processes.start(['watch', '--interval', '100ms', '--json']);
      await watch.says(/"seen"/);
      await store.acquire('json', 'owner-1', Number.MAX_SAFE_INTEGER);
      await watch.says(/"held"/);
      await store.release('json', 'owner-1');
      await watch.says(/"free"/);
      watch.signal('SIGTERM');
      const { code, stdout } = await watch.ended;
      expect(code).toBe(0);
      const changes = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line));
      const lock = { key: 'json', expiresAt: null, remaining: null };
      expect(changes).toMatchObject([
        { event: 'seen', count: 0 },
        { event: 'held', lock },
        { event: 'free', lock },
      ]);
      expect(stdout).not.toContain('owner-1');
    });

    it('B79 on a terminal, watch redraws the table, and Ctrl-C restores the terminal', async () => {
      await store.acquire('seen', 'owner-1', 600_000, { label: '\x1b]0;title\x07' });
      // Ctrl-C interrupts the shell as well. The trap keeps every shell running, so that it
      // can print the exit code.
      const command = `trap : INT; stty cols 120 rows 10; ${process.execPath} dist/esm/cli/main.js watch --interval 100ms; echo "ended $?"`;
      const inPlace = { TERM: 'xterm', NO_COLOR: '1' };
      const terminal = processes.execute('script', inTerminal(command), inPlace);
      await terminal.says(
        new RegExp(`${ESCAPE}1049h${ESCAPE}25l.*nestjs-locked  1 lock held, .* every 0\\.1s`),
      );
      await terminal.says(/KEY +LABEL +SINCE .*\r\nseen  \\u\{1b\}\]0;title\\u\{7\} /);
      await store.acquire('then', 'owner-2', 600_000);
      await terminal.says(/2 locks held[^]*\r\nthen /);
      for (let i = 0; i < 20; i++) await store.acquire(`z-${i}`, 'owner-3', 600_000);
      await terminal.says(/22 locks held[^]*and 16 more/);
      terminal.write('\x03');
      await terminal.says(new RegExp(`${ESCAPE}25h${ESCAPE}1049lended 0\r\n$`));
      // The input ends last, because its end may end the shell before the shell has printed.
      terminal.endInput();
      await terminal.ended;
      for (let i = 0; i < 20; i++) await store.release(`z-${i}`, 'owner-3');
    });

    it('B70 list shows all locks, even if the store returns them in several pages', async () => {
      const keys = Array.from({ length: 1001 }, (_, i) => `page-${String(i).padStart(4, '0')}`);
      for (const key of keys) await store.acquire(key, 'owner-1', 600_000);
      const { stdout } = await runCli(['list', '--json'], database.env);
      const listed = stdout.split('\n').filter((line) => line.includes('"page-'));
      expect(listed.map((line) => JSON.parse(line).key)).toEqual(keys);
      const table = (await runCli(['list'], database.env)).stdout;
      expect(table.match(/^page-/gm)).toHaveLength(1001);
    });
  });
}

for (const { name, open } of cliDatabases('postgres', 'mariadb')) {
  describe(`nestjs-locked watch on ${name}`, () => {
    let database: CliDatabase;
    const processes = new CliProcesses();

    beforeAll(async () => {
      database = await open();
      await database.query((await runCli(['ddl'], database.env)).stdout);
    });
    afterEach(() => processes.killAll());
    afterAll(() => database.dispose());

    it('B79 watch goes on after an outage of the database', async () => {
      const url = new URL(database.env.LOCKS_URL);
      const server = { host: url.hostname, port: Number(url.port) };
      const proxy = await TcpProxy.open(server);
      url.port = String(proxy.port);
      const watch = processes.start(['watch', '--interval', '100ms'], { LOCKS_URL: url.href });
      await watch.says(/seen   0 locks held/);
      await proxy.close();
      await watch.says(/error  Could not list the locks/);
      const again = await TcpProxy.open(server, proxy.port);
      await watch.says(/error [^]*seen   0 locks held/);
      const holder = processes.start(['hold', 'after', '--', 'cat'], database.env);
      await watch.says(/held   after/);
      holder.endInput();
      await watch.says(/free   after/);
      watch.signal('SIGINT');
      expect(await watch.ended).toMatchObject({ code: 0, stderr: '' });
      await again.close();
    });

    it('B79 watch ends with an error if the table is missing from the start', async () => {
      const { code, stderr } = await runCli(['watch', '--table', 'none'], database.env);
      expect({ code, stderr }).toEqual({
        code: 69,
        stderr: expect.stringContaining('none is missing'),
      });
    });
  });
}

/** The arguments with which the program `script` runs a command in a terminal of its own. */
function inTerminal(command: string): string[] {
  return process.platform === 'darwin'
    ? ['-q', '/dev/null', 'sh', '-c', command]
    : ['-qec', command, '/dev/null'];
}
