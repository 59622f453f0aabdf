import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { panelsOf } from './charts.mjs';
import { panelsOfCallers } from './cost-tables.mjs';
import { curvesSvgOf } from './curves.mjs';
import { markdownOf } from './markdown.mjs';
import { svgOf } from './svg.mjs';

/**
 * Writes the results of a run as JSON and as Markdown, and as pictures if peers were measured
 * too.
 *
 * @param name the name of the files, without their extensions
 * @returns the paths of the files
 */
export async function saveReport(report, folder, name = 'bench') {
  await mkdir(folder, { recursive: true });
  const panels = panelsOf(report.results);
  const callers = panelsOfCallers(report.results);
  const files = {
    [`${name}.json`]: `${JSON.stringify(report, undefined, 2)}\n`,
    [`${name}.md`]: markdownOf({ ...report, charts: panels.length }),
    ...(panels.length > 0 && { 'peers.svg': svgOf(panels) }),
    ...(callers.length > 0 && { 'callers.svg': curvesSvgOf(callers) }),
  };
  for (const [file, text] of Object.entries(files)) await writeFile(join(folder, file), text);
  return Object.keys(files).map((name) => join(folder, name));
}
