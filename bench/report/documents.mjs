import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { callersTable, costTable, panelsOfCallers, redisTable } from './cost-tables.mjs';
import { curvesSvgOf } from './curves.mjs';
import { goalsTable } from './goals-table.mjs';
import { keptRows } from './kept-results.mjs';

const RESULTS = new URL('../results/', import.meta.url);
const PICTURE = new URL('../../docs/images/callers.svg', import.meta.url);

/**
 * The documents with figures, and the functions that make the text between
 * `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`.
 */
const DOCUMENTS = [
  {
    file: new URL('../../docs/performance.md', import.meta.url),
    sections: { callers: callersTable, costs: costTable, redis: redisTable },
  },
  { file: new URL('../goals.md', import.meta.url), sections: { goals: goalsTable } },
];

/**
 * Writes the figures of all kept results into the documents that quote them, and draws the
 * chart.
 *
 * @returns the paths of the files
 */
export async function writeDocuments() {
  // Imported only here, since measuring works without prettier.
  const prettier = await import('prettier');
  const rows = keptRows(RESULTS);
  const written = [];
  for (const { file, sections } of DOCUMENTS) {
    const path = fileURLToPath(file);
    let text = await readFile(path, 'utf8');
    for (const [name, tableOf] of Object.entries(sections)) text = replaced(text, name, tableOf(rows), path);
    const options = await prettier.resolveConfig(path);
    await writeFile(path, await prettier.format(text, { ...options, filepath: path }));
    written.push(path);
  }
  const panels = panelsOfCallers(rows);
  if (panels.length === 0) return written;
  const path = fileURLToPath(PICTURE);
  await writeFile(path, curvesSvgOf(panels));
  return [...written, path];
}

function replaced(text, name, section, path) {
  const [begin, end] = [`<!-- bench:${name} -->`, `<!-- /bench:${name} -->`];
  const from = text.indexOf(begin);
  const to = text.indexOf(end);
  if (from < 0 || to < from) throw new Error(`${path} has no ${begin} … ${end}`);
  return `${text.slice(0, from)}${begin}\n\n${section}\n\n${text.slice(to)}`;
}
