import { chmod, mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const cache = fileURLToPath(new URL('../../node_modules/.cache/nestjs-locked/', import.meta.url));

/**
 * A folder that survives runs. `fill` gets an empty folder, which appears under its name only
 * when it is complete.
 */
export async function cachedFolder(name, fill) {
  const folder = join(cache, name);
  if (await exists(folder)) return folder;
  await mkdir(cache, { recursive: true });
  const unfinished = await mkdtemp(join(cache, `${name}.unfinished-`));
  await chmod(unfinished, 0o755); // The servers run as another user when the runner is root.
  try {
    await fill(unfinished);
    await rename(unfinished, folder);
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    // Another run has finished the same folder first: its copy is as good.
    if (!(await exists(folder))) throw error;
  }
  return folder;
}

const exists = (path) =>
  stat(path).then(
    () => true,
    () => false,
  );
