import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { markdownOf } from './markdown.mjs';

/** Writes the results for programs and for people; gives the paths. */
export async function saveReport(report, folder) {
  await mkdir(folder, { recursive: true });
  const files = {
    'bench.json': `${JSON.stringify(report, undefined, 2)}\n`,
    'bench.md': markdownOf(report),
  };
  const paths = [];
  for (const [name, text] of Object.entries(files)) {
    const path = join(folder, name);
    await writeFile(path, text);
    paths.push(path);
  }
  return paths;
}
