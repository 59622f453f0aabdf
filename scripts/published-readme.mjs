// npm runs this script before and after `npm pack` and `npm publish`. Before, the README gets
// the links of a published package. After, with --restore, the README of the checkout is put
// back.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const CHECKOUT = '.cache/README.md';

/**
 * Makes relative links and pictures absolute, since a package has no folders `docs` and
 * `sample`. If package.json names no repository, there is no address: links become their text,
 * and pictures are left out.
 */
export function publishedReadme(text, { repository, version }) {
  const base = repository && addressOf(repository);
  const parts = text.split(/(^```[^]*?^```$)/m);
  return parts.map((part) => (part.startsWith('```') ? part : withLinks(part))).join('');

  function withLinks(prose) {
    return prose.replace(/(!?)\[([^\]]*)\]\((?!#|[a-z]+:)([^)]+)\)/g, (_, picture, label, path) => {
      if (!base) return picture ? '' : label;
      return `${picture}[${label}](${base}/${picture ? 'raw' : 'blob'}/v${version}/${path})`;
    });
  }
}

function addressOf(repository) {
  const { url } = typeof repository === 'string' ? { url: repository } : repository;
  return url.replace(/^git\+/, '').replace(/\.git$/, '');
}

/** Saves the README of the checkout, and writes the published README in its place. */
export function publish() {
  restore(); // restores the README in case an earlier `npm pack` failed
  mkdirSync('.cache', { recursive: true });
  const text = readFileSync('README.md', 'utf8');
  writeFileSync(CHECKOUT, text);
  writeFileSync('README.md', published(text));
}

/** Puts the README of the checkout back, unless the file was edited meanwhile. */
export function restore() {
  if (!existsSync(CHECKOUT)) return;
  const text = readFileSync(CHECKOUT, 'utf8');
  if (readFileSync('README.md', 'utf8') === published(text)) writeFileSync('README.md', text);
  rmSync(CHECKOUT);
}

function published(text) {
  return publishedReadme(text, JSON.parse(readFileSync('package.json', 'utf8')));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.argv.includes('--restore')) restore();
  else publish();
}
