// npm run prose: checks the English of comments, messages, test titles and documents; a part of `npm run lint`.
// npm run prose -- lib/engine docs         checks only these files and folders
// npm run prose -- --draw 40 comments      prints comments drawn at random, for a fresh reader (also: messages, titles, documents)
// npm run prose -- --draw 40 titles --seed 7   draws the same titles each time
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { sentencesOf, textsOfDocument, textsOfSource } from './prose/texts.mjs';

const WORDS = 30; // the guide says about 25 words; a few more for a list or a name do no harm
const COLUMNS = 95;

// Phrases that make a text hard to understand. CONTRIBUTING.md says what to write instead.
const PHRASES = [
  /\b(no|some|any)body\b/i,
  /\bany ?more\b/i,
  /\b(is|are|was) none\b/i,
  /\bone (that|whose|which)\b/i,
  /\bwho (holds|waits|asks|wants|has|is)\b/i,
  /\bso long\b(?! as\b)/i,
  /\b(has|have|had) it called\b/i,
  /\b(is|are|was|were|be|been|being) (told|asked|heard)\b/i,
  /\b(so|nor) (is|are|does|do) (one|it|they)\b/i,
  /\bthis one\b/i,
  /\bof (one|those) (that|which|who)\b/i,
  /\bwhat is [^,.;?]+ is\b/i,
  /\bstand(s|ing)? in (a )?line\b/i,
  /\b(heir|succession)\b/i,
];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { draw: { type: 'string' }, seed: { type: 'string' } },
});

const files = execFileSync(
  'git',
  ['ls-files', '-co', '--exclude-standard', ...(values.draw ? [] : positionals)],
  { encoding: 'utf8' },
)
  .split('\n')
  .filter(
    (file) =>
      /\.(ts|mts|cts|mjs|md)$/.test(file) &&
      !/^(CHANGELOG\.md|LICENSE|bench\/results\/|test\/.*golden)/.test(file),
  );
const texts = files.flatMap((file) => {
  const source = readFileSync(file, 'utf8');
  const found = file.endsWith('.md') ? textsOfDocument(source) : textsOfSource(file, source);
  return found.map((text) => ({ file, ...text }));
});

if (values.draw)
  draw(Number(values.draw), positionals[0] ?? 'comments', Number(values.seed ?? Date.now() % 100_000));
else check();

function draw(count, kind, seed) {
  console.log(`${count} ${kind}, drawn with --seed ${seed}\n`);
  const isDrawn = ({ file, suites, text }) =>
    (kind !== 'titles' || (suites && /\w \w/.test(text))) &&
    (kind !== 'messages' || (file.startsWith('lib/') && /^[A-Z"]|…/.test(text)));
  const wanted = texts.filter((text) => text.kind === kind && isDrawn(text));
  for (let left = Math.min(count, wanted.length), state = seed; left > 0; left -= 1) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    const [{ file, line, text, suites = [] }] = wanted.splice(state % wanted.length, 1);
    console.log(`${file}:${line}\n${[...suites, text.trim()].join(' › ').replace(/^/gm, '    ')}\n`);
  }
}

function check() {
  const faults = texts.flatMap(({ file, line, kind, text }) => {
    const of = (what) => `${file}:${line} (${kind}) ${what}`;
    const sentences = sentencesOf(text);
    return [
      ...sentences
        .filter((sentence) => sentence.split(' ').length > WORDS)
        .map((sentence) =>
          of(
            `a sentence of ${sentence.split(' ').length} words, at most ${WORDS}: ${sentence.slice(0, 60)}…`,
          ),
        ),
      ...PHRASES.flatMap((phrase) => phrase.exec(sentences.join(' '))?.[0] ?? []).map((phrase) =>
        of(`"${phrase}"`),
      ),
    ];
  });
  const wide = files
    .filter((file) => !file.endsWith('.md'))
    .flatMap((file) =>
      readFileSync(file, 'utf8')
        .split('\n')
        .flatMap((line, index) =>
          /^\s*(\/\/|\/?\*)|\s\/\/ /.test(line) &&
          line.length > COLUMNS &&
          !/https?:|^\s*\/\/ npm run/.test(line)
            ? [`${file}:${index + 1} (comments) ${line.length} columns, at most ${COLUMNS}`]
            : [],
        ),
    );
  for (const fault of [...faults, ...wide]) console.error(fault);
  console.log(`prose: ${texts.length} texts in ${files.length} files, ${faults.length + wide.length} faults`);
  process.exitCode = faults.length + wide.length > 0 ? 1 : 0;
}
