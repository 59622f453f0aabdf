import { describe, expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { runCli } from './run-cli.js';

describe('nestjs-locked with wrong arguments', () => {
  const refusals: [string, string[], number, RegExp][] = [
    ['no database', ['list'], 64, /set LOCKS_URL in the environment, or give --url/],
    ['no scheme', ['list', '--url', 'localhost'], 64, /no scheme.*postgres:\/\//],
    ['another scheme', ['list', '--url', 'redis://u:secret@h'], 64, /cannot be kept in redis.*mongodb:\/\//],
    ['a broken URL', ['list', '--url', 'postgres://u:secret%@h/d'], 64, /percent-encoded/],
    ['a broken URL', ['list', '--url', 'mongodb://u:secret@@h/d'], 64, /driver cannot read the url/],
    [
      'a URL in the wrong place',
      ['postgres://u:secret@h/d'],
      64,
      /unknown command 'postgres:\/\/u:\*\*\*@h\/d'/,
    ],
    ['no such file', ['list', '--url', 'sqlite:none.sqlite'], 64, /no SQLite file none\.sqlite/],
    [
      'no server',
      ['list', '--url', 'postgres://u:secret@127.0.0.1:1/d'],
      69,
      /127\.0\.0\.1:1.*cannot be reached/,
    ],
    [
      'no server',
      ['list', '--url', 'mysql://u:secret@127.0.0.1:1/d'],
      69,
      /127\.0\.0\.1:1.*cannot be reached/,
    ],
    [
      'no server',
      ['list', '--url', 'mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=100'],
      69,
      /127\.0\.0\.1:1.*cannot be reached/,
    ],
    ['a table in MongoDB', ['list', '--url', 'mongodb://h', '--table', 't'], 64, /use --collection/],
    ['a collection in SQL', ['list', '--url', 'mysql://h/d', '--collection', 'c'], 64, /use --table/],
    ['a table of no name', ['ddl', '--dialect', 'mysql', '--table', 'a;b'], 64, /letters, digits/],
    ['a schema in SQLite', ['ddl', '--dialect', 'sqlite', '--schema', 's'], 64, /SQLite has no schemas/],
    ['a table for MongoDB', ['ddl', '--url', 'mongodb://h'], 64, /needs no table/],
    ['a table without a dialect', ['ddl'], 64, /--dialect \(postgres, mysql, mariadb, sqlite\)/],
    [
      'an unknown command',
      ['lisst'],
      64,
      /unknown command 'lisst' \(Did you mean list\?\) See nestjs-locked --help/,
    ],
    ['an unknown option', ['list', '--tabel', 't'], 64, /unknown option '--tabel'/],
    ['an empty key', ['inspect', '', '--url', 'mysql://h/d'], 64, /must not be empty/],
    ['a release without a reason', ['release', 'k'], 64, /--reason/],
    ['a duration without its unit', ['purge', '--older-than', '7'], 64, /Give the unit: 7s, 7ms or 7m/],
    [
      'a wait together with no wait',
      ['hold', 'k', '-n', '--wait', '1s', '--', 'true'],
      64,
      /cannot be used with/,
    ],
    ['a ttl that is too short', ['hold', 'k', '--ttl', '50ms', '--', 'true'], 64, /at least 100 ms/],
    ['an exit code out of range', ['hold', 'k', '-E', '256', '--', 'true'], 64, /0 to 255/],
  ];

  it.each(refusals)(
    'B79 the error for %s is one line with the next step: %j',
    async (_, args, code, message) => {
      const result = await runCli(args);
      expect(result).toMatchObject({ code, stdout: '' });
      // The pattern matches a single line only.
      expect(result.stderr).toMatch(/^nestjs-locked: .*\n$/);
      expect(result.stderr).toMatch(message);
      expect(result.stderr).not.toContain('secret');
    },
  );

  it('B79 with --json, an error is printed as JSON', async () => {
    const { code, stderr } = await runCli(['list', '--json', '--url', 'redis://h']);
    const { error } = JSON.parse(stderr);
    expect({ code, error }).toEqual({
      code: 64,
      error: { name: 'LockError', message: expect.stringContaining('redis'), exitCode: 64 },
    });
  });

  it('B79 if the variable DEBUG is set, an error is printed with its stack and its causes', async () => {
    const args = ['list', '--url', 'postgres://u:secret@127.0.0.1:1/d'];
    const { stderr } = await runCli(args, { DEBUG: '1' });
    expect(stderr).toMatch(/\n {4}at .*\ncaused by .*ECONNREFUSED/s);
    expect(stderr).not.toContain('secret');
  });
});

describe('the help of nestjs-locked', () => {
  it('B79 --version prints the version of the package', async () => {
    const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
    expect(await runCli(['--version'])).toMatchObject({ code: 0, stdout: `${version}\n`, stderr: '' });
  });

  it('B79 --help lists commands and exit codes; without a command, the help goes to stderr with code 64', async () => {
    const { code, stdout } = await runCli(['--help']);
    expect(code).toBe(0);
    for (const word of [
      'list',
      'inspect',
      'watch',
      'hold',
      'release',
      'pause',
      'resume',
      'purge',
      'ddl',
      '124',
    ])
      expect(stdout).toMatch(new RegExp(`^  ${word}\\b`, 'm'));
    expect(await runCli([])).toMatchObject({ code: 64, stdout: '', stderr: stdout });
  });

  it('B79 the help of a command includes the common options', async () => {
    const { stdout } = await runCli(['hold', '--help']);
    expect(stdout).toContain('hold [options] <key> -- <command> [argument...]');
    expect(stdout).toContain('LOCKS_URL');
  });
});
