import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { panelsOf } from './charts.mjs';
import { markdownOf } from './markdown.mjs';
import { svgOf } from './svg.mjs';

/** Writes the results for programs, for people, and as a picture when there are peers to compare with; gives the paths. */
export async function saveReport(report, folder) {
  await mkdir(folder, { recursive: true });
  const panels = panelsOf(report.results);
  const files = {
    'bench.json': `${JSON.stringify(report, undefined, 2)}\n`,
    'bench.md': markdownOf({ ...report, charts: panels.length }),
    ...(panels.length > 0 && { 'peers.svg': svgOf(panels) }),
  };
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  return Object.keys(files).map((name) => join(folder, name));
}
