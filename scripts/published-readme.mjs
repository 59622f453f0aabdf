// npm runs this around `npm pack` and `npm publish`: before, the README gets the links of a
// published package; with --restore, after, it is the file of the checkout again.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const CHECKOUT = '.cache/README.md';

/**
 * Makes relative links and pictures absolute, since a package has no folders `docs` and
 * `sample`. While package.json names no repository, there is no address to link to: links
 * become their text, and pictures are left out.
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

/** Writes the published README in place of the checkout's, and keeps that. */
export function publish() {
  restore(); // after an `npm pack` that failed
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
