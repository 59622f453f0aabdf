// Extracts the texts that people read from source files and documents: comments, messages, test titles, paragraphs.
import ts from 'typescript';

/**
 * @typedef {'comments' | 'messages' | 'titles' | 'documents'} Kind
 * @typedef {{ kind: Kind, line: number, text: string }} Text a text without its markup, and the line on which it begins
 */

const TITLE_CALLS = new Set(['describe', 'it', 'test', 'each', 'behaviour']);
const SQL =
  /\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE (TABLE|TRIGGER|INDEX|FUNCTION)|ALTER TABLE|ON CONFLICT|RETURNING|WHERE|SET [a-z_]+ =)\b/;

/** @returns {Text[]} the comments, messages and test titles of a TypeScript or JavaScript file */
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
  const visit = (node) => {
    const text = literalText(node, tree);
    if (text === undefined) return ts.forEachChild(node, visit);
    const titled = isTitle(node);
    if (
      titled ||
      (!inTest && text.split(/\s+/).length >= 4 && /[a-z]{2,} [a-z]/.test(text) && !SQL.test(text))
    )
      texts.push({ kind: titled ? 'titles' : 'messages', line: lineAt(node.getStart(tree)), text });
  };
  visit(tree);
  return texts;
}

/** The text of a string, a template or several that are added up; a value that is filled in reads as `…`. */
function literalText(node, tree) {
  if (ts.isStringLiteral(node) || ts.isNoSubstitutionTemplateLiteral(node)) return node.text;
  if (ts.isTemplateExpression(node))
    return node.head.text + node.templateSpans.map(({ literal }) => `…${literal.text}`).join('');
  if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.PlusToken) {
    const [left, right] = [literalText(node.left, tree), literalText(node.right, tree)];
    if (left !== undefined || right !== undefined) return (left ?? '…') + (right ?? '…');
  }
  return undefined;
}

function isTitle(node) {
  const call = node.parent;
  if (!ts.isCallExpression(call) || call.arguments[0] !== node) return false;
  const name = call.expression.getText();
  return TITLE_CALLS.has(name.replace(/\(.*$/s, '').split('.')[0]);
}

/** @returns {Text[]} the paragraphs and list items of a Markdown file, without code, tables, links and HTML */
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

/** @returns {string[]} the sentences of a text; code, links and examples count as one word each */
export function sentencesOf(text) {
  return text
    .replace(/@example[\s\S]*?(?=\n@|$)/g, '')
    .replace(/```[\s\S]*?```/g, 'CODE')
    .replace(/\{@link (\S+?)[^}]*\}/g, '$1')
    .replace(/`[^`]*`/g, (code) => (/[.;:!?]`$/.test(code) ? 'CODE.' : 'CODE'))
    .replace(/!?\[([^\]]*)\]\([^)]*\)/g, '$1')
    .replace(/https?:\/\/\S+/g, 'LINK')
    .replace(/\n\s*\n|\n(?=@\w)|\n\s*(?=(?:[-*+]|\d+\.) )/g, '.\n')
    .split(/(?<=[.!?:;])\)?["”*_]*\s+/)
    .map((sentence) => sentence.replace(/\s+/g, ' ').trim())
    .filter((sentence) => sentence !== '');
}
