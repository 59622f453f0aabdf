import 'reflect-metadata';
import { describe, expect, it, jest } from '@jest/globals';
import { TypeOrmModule, getDataSourceToken } from '@nestjs/typeorm';
import type { DataSource } from 'typeorm';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LockModule, LockService, memoryStore, getLockServiceToken } from '../../lib/index.js';
import { storeFailure as mongoFailure } from '../../lib/stores/mongodb/mongo-failure.js';
import { typeOrmSessionStore, typeOrmStore } from '../../lib/stores/typeorm/index.js';
import { pragmaOf } from '../../lib/stores/sql/sqlite/sqlite-connection.js';
import { storeFailure, transactionFailure } from '../../lib/stores/sql/store-failure.js';
import { logs, start } from './applications.js';
import { RecordingStore } from './recording-store.js';

const lines = (pattern: RegExp): string[] =>
  logs.lines.map(({ message }) => message).filter((message) => pattern.test(message));

/** A store that has to be closed at shutdown. */
class ConnectedStore extends RecordingStore {
  async prepare(): Promise<void> {}
  async close(): Promise<void> {}
}

describe('messages of the library', () => {
  it('E14 one warning says that no listener handles SIGTERM, however many lock modules there are', async () => {
    const listeners = jest.spyOn(process, 'listenerCount').mockReturnValue(0);
    const app = await start({
      imports: [
        LockModule.forRoot({ store: new ConnectedStore() }),
        LockModule.forRoot({ name: 'other', store: new ConnectedStore() }),
      ],
    });
    for (const name of ['default', 'other'])
      await app.get<LockService>(getLockServiceToken(name)).run('key', () => {});
    listeners.mockRestore();
    expect(lines(/Nothing listens for SIGTERM/)).toHaveLength(1);
  });

  it('E14 the warning about disabled locking says that only calls of this process run without a lock', async () => {
    await start({ imports: [LockModule.forRoot({ store: memoryStore(), enabled: false })] });
    expect(lines(/LOCKING IS DISABLED/)).toEqual([expect.stringContaining('unlocked in this process')]);
    expect(lines(/every instance/)).toEqual([]);
  });

  it('E14 a message that ends with the text of a driver error has exactly one full stop at its end', () => {
    const texts = ['It is gone.', 'Is it gone?', 'Gone!', 'gone...', 'gone: ', 'gone', ''];
    const codes = [{}, { code: '57P01' }, { errno: 1290 }, { code: 13 }, { code: 'ECONNREFUSED' }];
    for (const text of texts)
      for (const code of codes)
        for (const failureOf of [storeFailure, transactionFailure, mongoFailure]) {
          const { message } = failureOf(
            Object.assign(new Error(text), code),
            'acquire "key"',
            'the database',
          );
          expect(message).not.toMatch(/[.!?:]\.(\s|$)/);
          expect(message).toMatch(/\.$/);
        }
  });

  it.each(['mssql', 'oracle', 'sqljs', 'mongodb', 'cockroachdb'])(
    'E14 a connection of type %s is refused at once, before any package is imported',
    (type) => {
      const connection = { type } as never;
      expect(() => typeOrmStore({ connection })).toThrow(
        `typeOrmStore() cannot keep locks in a connection of the type "${type}". Supported are postgres, mysql, mariadb, better-sqlite3.`,
      );
      expect(() => typeOrmSessionStore({ connection })).toThrow(
        /Supported are postgres, mysql, mariadb\. .*typeOrmStore\(\)/,
      );
    },
  );

  it('E14 typeOrmSessionStore() refuses SQLite at once and advises typeOrmStore()', () => {
    expect(() => typeOrmSessionStore({ connection: { type: 'better-sqlite3', database: 'x' } })).toThrow(
      /"better-sqlite3".*typeOrmStore\(\)/,
    );
  });

  it('E14 a pragma of SQLite is read from a plain value, or from a row as libsql returns it', () => {
    for (const found of ['wal', { journal_mode: 'wal' }, [{ journal_mode: 'wal' }]])
      expect(pragmaOf({ pragma: () => found } as never, 'journal_mode = WAL')).toBe('wal');
  });

  it("E14 with TypeORM's manualInitialization, the error advises enabled: false and enable(), which solve the problem", async () => {
    const folder = await mkdtemp(join(tmpdir(), 'locks-'));
    const database = join(folder, 'app.db');
    const typeorm = TypeOrmModule.forRoot({ type: 'better-sqlite3', database, manualInitialization: true });
    await expect(
      start({ imports: [typeorm, LockModule.forRoot({ store: typeOrmStore() })] }),
    ).rejects.toThrow(/manualInitialization.*enabled: false.*LockService\.enable\(\)/);

    const app = await start({
      imports: [typeorm, LockModule.forRoot({ store: typeOrmStore(), enabled: false })],
    });
    const dataSource = app.get<DataSource>(getDataSourceToken());
    await dataSource.initialize();
    await app.get(LockService).enable();
    expect(await app.get(LockService).run('key', (lock) => lock.held)).toBe(true);
    await app.close();
    await rm(folder, { recursive: true });
  });
});
