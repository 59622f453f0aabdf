import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { filesOf } from '../../scripts/readme/files.mjs';

/**
 * A code block in a document that is a complete file, which readers can paste into an
 * application.
 */
export interface CompleteFile {
  /** The path of the file, such as `src/app.module.ts`. */
  name: string;
  /** The document and the line of the code block, such as `README.md:14`. */
  where: string;
  code: string;
}

export const documents = [
  'README.md',
  ...readdirSync('docs', { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md') && !name.startsWith('decisions'))
    .map((name) => `docs/${name.replaceAll('\\', '/')}`),
];

export const completeFiles: CompleteFile[] = documents.flatMap((document) => filesOf(document));

/** Returns the file that the README shows under this path. */
export function recipe(name: string): CompleteFile {
  const file = completeFiles.find((other) => other.where.startsWith('README.md') && other.name === name);
  if (!file) throw new Error(`The README has no file ${name}.`);
  return file;
}

/** Imports this package from its source, so that a test needs no build. */
export function importingFromSource(code: string): string {
  return code.replaceAll(/'nestjs-locked(\/\w+)?'/g, (_, entry: string = '') =>
    ['/sql', '/typeorm', '/mongodb'].includes(entry)
      ? `'../../lib/stores${entry}/index.js'`
      : `'../../lib${entry}/index.js'`,
  );
}

/** Writes files into a folder of their own, and imports them from there. */
export class PastedFiles {
  readonly #folder = `.cache/pasted-${process.pid}`;
  #count = 0;

  async import(file: CompleteFile): Promise<Record<string, unknown>> {
    mkdirSync(this.#folder, { recursive: true });
    const path = resolve(join(this.#folder, `${(this.#count += 1)}-${basename(file.name)}`));
    writeFileSync(path, importingFromSource(file.code));
    return (await import(pathToFileURL(path).href)) as Record<string, unknown>;
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
