// Extracts the texts that people read from source files and documents: comments, messages,
// test titles, paragraphs.
import ts from 'typescript';

/**
 * @typedef {'comments' | 'messages' | 'titles' | 'documents'} Kind
 * @typedef {{ kind: Kind, line: number, text: string, suites?: string[] }} Text
 *   a text without its markup, the line on which it begins, and for a test the titles of its
 *   suites
 */

const TITLE_CALLS = new Set(['describe', 'it', 'test', 'each', 'behaviour']);
const SQL =
  /\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE …?(TABLE|TRIGGER|INDEX|FUNCTION)|JSON_TABLE|ALTER TABLE|ON CONFLICT|RETURNING|WHERE|SET [a-z_]+ =)\b|^generator \w+ \{|^<svg/;

/**
 * @returns {Text[]} the comments, messages and test titles of a TypeScript or JavaScript file
 */
export function textsOfSource(file, source) {
  const tree = ts.createSourceFile(file, source, ts.ScriptTarget.Latest, true);
  const lineAt = (position) => tree.getLineAndCharacterOfPosition(position).line + 1;
  return [...commentsOf(source, tree, lineAt), ...literalsOf(tree, lineAt, /\.spec\.ts$|^test\//.test(file))];
}

function commentsOf(source, tree, lineAt) {
  const ranges = new Map();
  const visit = (node) => {
    for (const range of ts.getLeadingCommentRanges(source, node.getFullStart()) ?? [])
      ranges.set(range.pos, range);
    for (const range of ts.getTrailingCommentRanges(source, node.getEnd()) ?? [])
      ranges.set(range.pos, range);
    for (const child of node.getChildren(tree)) visit(child);
  };
  visit(tree);
  const texts = [];
  let last;
  for (const { pos, end, kind } of [...ranges.values()].toSorted((a, b) => a.pos - b.pos)) {
    const raw = source.slice(pos, end);
    if (kind === ts.SyntaxKind.MultiLineCommentTrivia) {
      texts.push({ kind: 'comments', line: lineAt(pos), text: withoutStars(raw) });
      last = undefined;
      continue;
    }
    const text = raw.replace(/^\/\/\s?/, '');
    const ownLine = /^\s*$/.test(source.slice(source.lastIndexOf('\n', pos - 1) + 1, pos));
    if (last?.ownLine && ownLine && lineAt(pos) === last.end + 1) {
      last.text.text += `\n${text}`;
      last.end += 1;
      continue;
    }
    texts.push({ kind: 'comments', line: lineAt(pos), text });
    last = { ownLine, end: lineAt(pos), text: texts.at(-1) };
  }
  return texts;
}

const withoutStars = (comment) =>
  comment
    .replace(/^\/\*\*?|\*\/$/g, '')
    .split('\n')
    .map((line) => line.replace(/^\s*\*? ?/, ''))
    .join('\n');

function literalsOf(tree, lineAt, inTest) {
  const texts = [];
  const add = (kind, node, text, suites) =>
    texts.push({ kind, line: lineAt(node.getStart(tree)), text, suites });
  const visit = (node, suites) => {
    const text = literalText(node);
    const caller = text === undefined ? undefined : titledBy(node);
    if (caller) add('titles', node, text, caller === 'describe' ? undefined : suites);
    else if (text !== undefined && !inTest && isMessage(text)) add('messages', node, text);
    if (text !== undefined) return;
    const suite = ts.isCallExpression(node) && node.arguments[0] && literalText(node.arguments[0]);
    const inside = suite && titledBy(node.arguments[0]) === 'describe' ? [...suites, suite] : suites;
    ts.forEachChild(node, (child) => visit(child, inside));
  };
  visit(tree, []);
  return texts;
}

const isMessage = (text) => text.split(/\s+/).length >= 4 && /[a-z]{2,} [a-z]/.test(text) && !SQL.test(text);

/**
 * Returns the text of a string, a template, or a concatenation of them. In place of each value
 * it has `…`.
 */
function literalText(node) {
  if (ts.isStringLiteral(node) || ts.isNoSubstitutionTemplateLiteral(node)) return node.text;
  if (ts.isTemplateExpression(node))
    return node.head.text + node.templateSpans.map(({ literal }) => `…${literal.text}`).join('');
  if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.PlusToken) {
    const [left, right] = [literalText(node.left), literalText(node.right)];
    if (left !== undefined || right !== undefined) return (left ?? '…') + (right ?? '…');
  }
  return undefined;
}

/**
 * Returns the name of the function that a title is passed to, such as `it` or `describe`.
 * Returns `case` for a case of a conformance suite, which is a method with the title as its
 * name.
 */
function titledBy(node) {
  if (ts.isMethodDeclaration(node.parent) && node.parent.name === node) return 'case';
  const call = node.parent;
  if (!ts.isCallExpression(call) || call.arguments[0] !== node) return undefined;
  const name = call.expression.getText().replace(/\(.*$/s, '').split('.')[0];
  return TITLE_CALLS.has(name) ? name : undefined;
}

/**
 * @returns {Text[]} the paragraphs and list items of a Markdown file, without code, tables,
 * links and HTML
 */
export function textsOfDocument(source) {
  const texts = [];
  let open;
  let fenced = false;
  let hidden = false;
  for (const [index, line] of source.split('\n').entries()) {
    if (/^\s*(```|~~~)/.test(line)) fenced = !fenced;
    if (/^<!-- (bench|generated)\b/.test(line)) hidden = true;
    if (/^<!-- \/(bench|generated)\b/.test(line)) hidden = false;
    const prose = !fenced && !hidden && !/^\s*(```|~~~|\||<|#|---|\[[^\]]+\]:)|^\s*$/.test(line);
    if (!prose) open = undefined;
    else if (open === undefined || /^\s*([-*+]|\d+\.) /.test(line))
      texts.push(
        (open = { kind: 'documents', line: index + 1, text: line.replace(/^\s*(>|[-*+]|\d+\.) /, '') }),
      );
    else open.text += `\n${line.replace(/^\s*> ?/, '')}`;
  }
  return texts;
}

/**
 * @returns {string[]} the sentences of a text; code, links and examples count as one word each
 */
export function sentencesOf(text) {
  return text
    .replace(/@example[\s\S]*?(?=\n@|$)/g, '')
    .replace(/```[\s\S]*?```/g, 'CODE')
    .replace(/\{@link (\S+?)[^}]*\}/g, '$1')
    .replace(/`[^`]*`/g, (code) => (/[.;:!?]`$/.test(code) ? 'CODE.' : 'CODE'))
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/https?:\/\/\S+/g, 'LINK')
    .replace(/\n\s*\n|\n(?=@\w)|\n {2,}|\n\s*(?=(?:[-*+]|\d+\.) )/g, '.\n')
    .split(/(?<=[.!?:;])\)?["”*_]*\s+/)
    .map((sentence) => sentence.replace(/\s+/g, ' ').trim())
    .filter((sentence) => sentence !== '');
}
