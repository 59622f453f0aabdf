import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, readdir, readFile } from 'node:fs/promises';
import { platform } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MongoClient } from 'mongodb';
import { mongodRunsHere } from './mongod-program.mjs';
import { startReplicaSet, type ReplicaSet } from './mongodb-replica-set.mjs';
import { start, startStandalone, type MongodbServer } from './mongodb.mjs';
import { openMongoDatabase, selectedStores } from './targets.js';

const majority = { writeConcern: { w: 'majority' } } as const;

if (!selectedStores.includes('mongodb'))
  it('a run that leaves MongoDB out of LOCK_TEST_STORES selects no MongoDB', () => {
    expect(selectedStores).not.toContain('mongodb');
  });
else {
  describe('the MongoDB of this run', () => {
    const database = openMongoDatabase();
    let client: MongoClient;

    beforeAll(async () => {
      client = await new MongoClient(database.url).connect();
    });
    afterAll(() => client.close());

    it('the server is the primary of a replica set', async () => {
      const hello = await client.db().command({ hello: 1 });
      expect(hello).toMatchObject({ isWritablePrimary: true, setName: expect.any(String) });
    });

    it('the server has transactions', async () => {
      const documents = client.db(database.databaseName).collection('proof');
      await client.withSession((session) =>
        session.withTransaction(async () => {
          await documents.insertOne({ in: 'a transaction' }, { session });
          await expect(documents.countDocuments()).resolves.toBe(0);
        }),
      );
      await expect(documents.countDocuments()).resolves.toBe(1);
    });

    it('each spec gets a database of its own, which is dropped when it is disposed of', async () => {
      const other = openMongoDatabase();
      await client.db(other.databaseName).collection('proof').insertOne({ of: 'a neighbour' });
      await expect(client.db(database.databaseName).collection('proof').countDocuments()).resolves.toBe(1);
      await other.dispose();
      await database.dispose();
      const { databases } = await client.db().admin().listDatabases({ nameOnly: true });
      const names = databases.map(({ name }) => name);
      expect(names).not.toContain(other.databaseName);
      expect(names).not.toContain(database.databaseName);
    });
  });

  if (mongodRunsHere()) describeOwnServers();
  else
    it('a machine without a mongod starts no servers of its own', () => {
      expect(mongodRunsHere()).toBe(false);
    });
}

function describeOwnServers() {
  describe('a replica set of three members', () => {
    let set: ReplicaSet;
    let client: MongoClient;

    beforeAll(async () => {
      set = await startReplicaSet();
      client = await new MongoClient(set.url).connect();
    }, 120_000);
    afterAll(async () => {
      await client.close();
      await set.stop();
    });

    it('the replica set elects another primary while the first one is frozen', async () => {
      const frozen = await set.primary();
      frozen.freeze();
      const next = await set.primary();
      expect(next.host).not.toBe(frozen.host);
      frozen.resume();
      await client.db('proof').collection('writes').insertOne({ while: 'two were left' }, majority);
    });

    it('the replica set elects another primary when one is killed, and keeps writes of a majority', async () => {
      const documents = client.db('proof').collection('writes');
      await documents.insertOne({ before: 'the end' }, majority);
      const killed = await set.primary();
      await killed.kill();
      const next = await set.primary();
      expect(next.host).not.toBe(killed.host);
      await expect(documents.countDocuments({ before: 'the end' })).resolves.toBe(1);
    });
  });

  describe('a MongoDB server without a replica set', () => {
    let server: MongodbServer;
    let client: MongoClient;

    beforeAll(async () => {
      server = await startStandalone();
      client = await new MongoClient(server.url).connect();
    }, 120_000);
    afterAll(async () => {
      await client.close();
      await server.stop();
    });

    it('the server refuses transactions', async () => {
      const documents = client.db('proof').collection('writes');
      const transaction = client.withSession((session) =>
        session.withTransaction(() => documents.insertOne({}, { session })),
      );
      // The driver's error names retryable writes where it means that transactions need a
      // replica set.
      await expect(transaction).rejects.toThrow(/retryable writes/);
    });
  });

  if (platform() === 'linux')
    describe('servers that have ended', () => {
      it('a stopped server leaves no process and no folder', async () => {
        const server = await start();
        expect(server.version).toMatch(/^\d+\.\d+\.\d+/);
        const home = await homeOf(server.pid);
        expect(await processesIn(home)).toContain(server.pid);
        await server.stop();
        expect(await processesIn(home)).toEqual([]);
        await expect(access(home)).rejects.toThrow(/ENOENT/);
      });

      it('a server whose starter is killed leaves no process and no folder', async () => {
        const program = `import { start } from '${new URL('mongodb.mjs', import.meta.url).href}';
          console.log((await start()).pid);
          setInterval(() => {}, 1000);`;
        const starter = spawn(process.execPath, ['--input-type=module', '--eval', program], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        const [pid] = await once(starter.stdout, 'data');
        const home = await homeOf(Number(pid));
        starter.kill('SIGKILL');
        const isThere = () =>
          access(home).then(
            () => true,
            () => false,
          );
        while (await isThere()) await sleep(20);
        expect(await processesIn(home)).toEqual([]);
      });
    });
}

/** Returns the temporary folder of a server. */
async function homeOf(pid: number): Promise<string> {
  const home = (await variables(pid)).find((variable) => variable.startsWith('TMPDIR='));
  if (!home) throw new Error(`process ${pid} has no folder`);
  return home.slice('TMPDIR='.length);
}

/** Returns the ids of all processes of a server, including those of Wine. */
async function processesIn(home: string): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(pids.map(async (pid) => (await variables(pid)).includes(`TMPDIR=${home}`)));
  return pids.filter((_, i) => found[i]);
}

async function variables(pid: number): Promise<string[]> {
  const text = await readFile(`/proc/${pid}/environ`, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(error.code ?? '')) return '';
    throw error;
  });
  return text.split('\0');
}
