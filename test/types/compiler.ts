import { relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

export const root = fileURLToPath(new URL('../..', import.meta.url));

/** Returns the compiler options of this repository. */
export function checkoutOptions(project = 'tsconfig.json'): ts.CompilerOptions {
  const { config, error } = ts.readConfigFile(`${root}/${project}`, (file) => ts.sys.readFile(file));
  if (error) throw new Error(ts.flattenDiagnosticMessageText(error.messageText, '\n'));
  return ts.parseJsonConfigFileContent(config, ts.sys, root).options;
}

/**
 * Returns the compiler's complaints about these files, in the form in which `tsc` prints them.
 */
export function complaints(program: ts.Program, concerned: (file: ts.SourceFile) => boolean): string {
  const found = program
    .getSourceFiles()
    .filter(concerned)
    .flatMap((file) => [...program.getSyntacticDiagnostics(file), ...program.getSemanticDiagnostics(file)]);
  return ts.formatDiagnostics([...program.getOptionsDiagnostics(), ...found], {
    getCurrentDirectory: () => root,
    getCanonicalFileName: (name) => relative(root, name),
    getNewLine: () => '\n',
  });
}
