import { chmod, mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const cache = fileURLToPath(new URL('../../node_modules/.cache/nestjs-locked/', import.meta.url));

/**
 * Returns a folder that later test runs use again. If it does not exist yet, `fill` puts its
 * content into a temporary folder, which is renamed once it is complete.
 */
export async function cachedFolder(name, fill) {
  const folder = join(cache, name);
  if (await exists(folder)) return folder;
  await mkdir(cache, { recursive: true });
  const unfinished = await mkdtemp(join(cache, `${name}.unfinished-`));
  // The servers read this folder, and run as another user if the runner is root.
  await chmod(unfinished, 0o755);
  try {
    await fill(unfinished);
    await rename(unfinished, folder);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    // Another run may have completed the same folder first. Its copy serves as well.
    if (!(await exists(folder))) throw error;
  }
  return folder;
}

const exists = (path) =>
  stat(path).then(
    () => true,
    () => false,
  );
