import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';

const hooks = new URL('note-modules.mjs', import.meta.url).href;
const dist = pathToFileURL('dist/esm/').href;

/** The modules that a process has imported. */
export interface LoadedModules {
  /** Files of this library, relative to dist/esm. */
  ours: string[];
  /** Names of packages that the library or the program itself imports. */
  packages: string[];
}

/** Runs a program with Node, and returns the modules that it loads. */
export async function modulesOf(args: readonly string[]): Promise<LoadedModules> {
  const folder = await mkdtemp(join(tmpdir(), 'loaded-modules-'));
  const file = join(folder, 'modules');
  try {
    const env = { ...process.env, LOADED_MODULES: file, LOCKS_URL: '' };
    await promisify(execFile)(process.execPath, ['--import', hooks, ...args], { env });
    const urls = (await readFile(file, 'utf8')).trim().split('\n');
    const ours = urls.filter((url) => url.startsWith(dist)).map((url) => url.slice(dist.length));
    return { ours: ours.toSorted(), packages: packagesOf(urls) };
  } finally {
    await rm(folder, { recursive: true });
  }
}

function packagesOf(urls: string[]): string[] {
  const files = urls.filter((url) => url.includes('/node_modules/')).map((url) => fileURLToPath(url));
  const names = files.map((file) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? '');
  return [...new Set(names)].toSorted();
}
