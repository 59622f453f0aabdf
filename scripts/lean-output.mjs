import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import ts from 'typescript';

/**
 * Deletes the declarations in a folder that no entry of the package imports, directly or
 * indirectly. Consumers can import only the entries, so their compilers never read the deleted
 * files.
 */
export function keepDeclarations(folder, entries) {
  const reached = new Set();
  const visit = (file) => {
    if (reached.has(file)) return;
    reached.add(file);
    const text = readFileSync(join(folder, file), 'utf8');
    for (const { fileName } of ts.preProcessFile(text).importedFiles)
      if (fileName.startsWith('.')) visit(normalize(join(dirname(file), fileName.replace(/\.js$/, '.d.ts'))));
  };
  entries.map(normalize).forEach(visit);
  for (const file of filesIn(folder, '.d.ts')) if (!reached.has(file)) rmSync(join(folder, file));
}

/**
 * Replaces every four spaces of indentation in compiled code by a tab, which makes the code an
 * eighth smaller. Lines inside template literals, such as SQL, stay unchanged.
 */
export function indentWithTabs(folder) {
  for (const file of [...filesIn(folder, '.js'), ...filesIn(folder, '.d.ts')]) {
    const path = join(folder, file);
    const text = readFileSync(path, 'utf8');
    const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest);
    let lean = '';
    let end = 0;
    for (const [from, to] of templatesOf(source)) {
      lean += withTabs(text.slice(end, from)) + text.slice(from, to);
      end = to;
    }
    writeFileSync(path, lean + withTabs(text.slice(end)));
  }
}

function withTabs(text) {
  return text.replace(/\n(?: {4})+/g, (indent) => `\n${'\t'.repeat((indent.length - 1) / 4)}`);
}

/** Returns where each template literal begins and ends, in order. */
function templatesOf(source) {
  const found = [];
  const visit = (node) => {
    if (ts.isTemplateLiteralToken(node)) found.push([node.getStart(source), node.end]);
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function filesIn(folder, ending) {
  return readdirSync(folder, { recursive: true }).filter((file) => file.endsWith(ending));
}
