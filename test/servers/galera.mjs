import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import mysql from 'mysql2/promise';
import { debianPackage } from './debian-packages.mjs';
import { flags } from './flags.mjs';
import { freePort } from './free-port.mjs';
import { mariadbCommand, start as startMariadb } from './mariadb.mjs';
import { startServer } from './server-home.mjs';
import { serverVersion } from './server-version.mjs';

const PROVIDER = 'usr/lib/galera/libgalera_smm.so';

/**
 * MariaDB runs this script to transfer its state to a joining node. Nothing has to be
 * transferred, since all nodes begin with the same data: the joiner only reports its position
 * once the donor has answered. The joiner gets later writes from the donor's cache.
 */
const TRANSFER = `#!/bin/sh
while [ $# -gt 0 ]; do
  case $1 in --role) role=$2;; --gtid) gtid=$2;; esac
  shift
done
if [ "$role" = donor ]; then
  echo "$gtid" > "$TRANSFER_FOLDER/asked"
  echo "done $gtid"
else
  rm -f "$TRANSFER_FOLDER/asked"
  echo "ready 127.0.0.1:4444/same"
  until [ -s "$TRANSFER_FOLDER/asked" ]; do sleep 0.1; done
  cat "$TRANSFER_FOLDER/asked"
fi
`;

/**
 * Starts the MariaDB nodes of one Galera cluster, each of which accepts writes.
 *
 * @returns {Promise<{
 *   readonly nodes: { readonly url: string }[],
 *   readonly version: string,
 *   stop(): Promise<void>,
 * }>}
 */
export async function startGalera(size = 3) {
  const nodes = [];
  const stop = async () => {
    await Promise.all(nodes.map((node) => node.stop()));
  };
  const folder = await mkdtemp(join(tmpdir(), 'nestjs-locked-galera-transfer-'));
  // The servers write into this folder, and run as another user if the runner is root.
  await chmod(folder, 0o777);
  await writeFile(join(folder, 'wsrep_sst_same'), TRANSFER, { mode: 0o755 });
  const env = { TRANSFER_FOLDER: folder, PATH: `${folder}:${process.env.PATH}` };
  const temporary = [];
  try {
    const seed = await startMariadb();
    temporary.push(seed);
    const { pathname: path } = new URL(seed.url);
    const own = { env, path };
    const plain = await dataFolder(seed.url);
    await seed.crash();
    // Starts and stops a cluster of one node, which writes the id and the position of the
    // cluster into its data. All nodes begin with a copy of these data.
    const settled = await startNode({ ...own, name: 'first', origin: plain, peers: [] });
    temporary.push(settled);
    const origin = await dataFolder(settled.url);
    await ask(settled.url, 'SHUTDOWN');
    while (runs(settled.pid)) await sleep(50);

    const peers = [];
    for (let i = 1; i <= size; i++) {
      const node = await startNode({ ...own, name: `node${i}`, origin, peers });
      nodes.push(node);
      peers.push(node.address);
    }
    return { nodes, version: nodes[0].version, stop };
  } catch (error) {
    await stop();
    throw error;
  } finally {
    for (const server of temporary) await server.stop();
    await rm(folder, { recursive: true });
  }
}

async function startNode({ name, origin, peers, path, env }) {
  const base = await freePort();
  const server = await startServer('galera', async (home) => {
    const data = join(home.path, 'data');
    await home.run(['cp', '-RP', origin, data]);
    const provider = existsSync(`/${PROVIDER}`)
      ? `/${PROVIDER}`
      : join(await home.readable(await debianPackage('bookworm', 'galera-4')), PROVIDER);
    const port = await freePort();
    const provide = {
      base_port: base,
      'gmcast.listen_addr': `tcp://127.0.0.1:${base}`,
      'ist.recv_addr': `127.0.0.1:${await freePort()}`,
      'gcache.size': '16M',
    };
    const settings = {
      datadir: data,
      'bind-address': '127.0.0.1',
      port,
      'skip-name-resolve': true,
      socket: join(home.path, 'socket'),
      'pid-file': join(home.path, 'pid'),
      'innodb-buffer-pool-size': '64M',
      'innodb-autoinc-lock-mode': 2,
      'binlog-format': 'ROW',
      'wsrep-on': 'ON',
      'wsrep-provider': provider,
      'wsrep-provider-options': Object.entries(provide)
        .map((option) => option.join('='))
        .join(';'),
      'wsrep-cluster-name': 'locks',
      'wsrep-cluster-address': `gcomm://${peers.join(',')}`,
      'wsrep-node-name': name,
      'wsrep-node-address': '127.0.0.1',
      'wsrep-sst-method': 'same',
      ...(peers.length === 0 && { 'wsrep-new-cluster': true }),
    };
    home.launch([...(await mariadbCommand(home)), ...flags(settings)], { env });
    const url = `mysql://app:secret@127.0.0.1:${port}${path}`;
    await home.answer(() => inService(url, peers.length + 1));
    return { url, version: await serverVersion(url) };
  });
  return Object.assign(server, { address: `127.0.0.1:${base}` });
}

const dataFolder = (url) => ask(url, 'SELECT @@datadir');

function runs(pid) {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    if (error.code === 'ESRCH') return false;
    throw error;
  }
}

async function inService(url, size) {
  const state = await ask(url, `SHOW STATUS LIKE 'wsrep_local_state_comment'`);
  const members = await ask(url, `SHOW STATUS LIKE 'wsrep_cluster_size'`);
  if (state !== 'Synced' || Number(members) !== size)
    throw new Error(`${state}, ${members} of ${size} nodes`);
}

/** Runs a statement, and returns the last column of its first row. */
async function ask(url, sql) {
  const connection = await mysql.createConnection({ uri: url, connectTimeout: 5000 });
  try {
    const [rows] = await connection.query(sql);
    return rows[0] && Object.values(rows[0]).at(-1);
  } finally {
    await connection.end();
  }
}
