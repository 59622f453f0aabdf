import { closeSync, fsyncSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { cpus, loadavg, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { median } from './statistics.mjs';

const PACKAGES = ['@nestjs/core', 'typeorm', 'pg', 'mysql2', 'better-sqlite3', 'mongodb'];
const SYNCS = 200;

/** Describes the machine and the versions, on which the figures depend. */
export function describeMachine(servers) {
  const processors = cpus();
  return {
    processor: processors[0]?.model.trim(),
    cores: processors.length,
    memory: `${Math.round(totalmem() / 2 ** 30)} GB`,
    platform: `${process.platform}-${process.arch}`,
    node: process.version,
    load: loadavg().map((load) => load.toFixed(1)),
    fsync: measureFsync(tmpdir()),
    servers: servers.stores.map((store) => {
      const { version, durability } = servers.of(store);
      return { store, version, durability };
    }),
    packages: Object.fromEntries(PACKAGES.map((name) => [name, versionOf(name)])),
  };
}

/**
 * Measures how many milliseconds it takes until an appended block of 8 kB is on the disk of
 * the databases.
 */
function measureFsync(parent) {
  const folder = mkdtempSync(join(parent, 'nestjs-locked-fsync-'));
  const file = openSync(join(folder, 'file'), 'w');
  try {
    const block = Buffer.alloc(8192, 1);
    const times = Array.from({ length: SYNCS }, () => {
      writeSync(file, block);
      const begin = performance.now();
      fsyncSync(file);
      return performance.now() - begin;
    });
    return Number(median(times).toFixed(3));
  } finally {
    closeSync(file);
    rmSync(folder, { recursive: true });
  }
}

function versionOf(name) {
  const { resolve } = createRequire(import.meta.url);
  const [folder] = resolve
    .paths(name)
    .map((path) => join(path, name, 'package.json'))
    .filter(isThere);
  return folder && JSON.parse(readFileSync(folder, 'utf8')).version;
}

function isThere(file) {
  try {
    readFileSync(file);
    return true;
  } catch (error) {
    if (error.code === 'ENOENT') return false;
    throw error;
  }
}
