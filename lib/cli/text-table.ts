/** A column of a table for people. */
export interface Column<Row> {
  title: string;
  of: (row: Row) => string;
  align?: 'left' | 'right';
}

const GAP = '  ';
const WIDE = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Emoji_Presentation}]/u;
const NO_WIDTH = /[\p{Mn}\p{Me}]/u;
// The characters that are escaped. They include those that change the direction of writing,
// since one key could be made to look like another key with them.
const UNPRINTABLE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Co}\p{Cn}\p{Cs}]/gu;

/** Formats rows as the lines of a table. The first line has the titles of the columns. */
export function tableLines<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string[] {
  const cells = [columns.map(({ title }) => title), ...rows.map((row) => columns.map(({ of }) => of(row)))];
  const widths = columns.map((_, i) => Math.max(...cells.map((line) => widthOf(line[i] ?? ''))));
  return cells.map((line) =>
    line
      .map((cell, i) => padded(cell, widths[i] ?? 0, columns[i]?.align))
      .join(GAP)
      .trimEnd(),
  );
}

/**
 * Escapes text from the database for a terminal. Keys and labels may come from strangers, and
 * a terminal obeys the control characters that it prints.
 */
export function printable(text: string): string {
  return text.replaceAll(UNPRINTABLE, (character) =>
    character === '\n' ? '\\n' : `\\u{${character.codePointAt(0)?.toString(16)}}`,
  );
}

/** Cuts a line to the width of the terminal. */
export function fitted(line: string, columns: number): string {
  if (widthOf(line) <= columns) return line;
  let kept = '';
  let width = 1; // the width of the ellipsis at the end
  for (const character of line) {
    width += characterWidth(character);
    if (width > columns) break;
    kept += character;
  }
  return `${kept}…`;
}

function padded(cell: string, width: number, align: Column<unknown>['align']): string {
  const padding = ' '.repeat(width - widthOf(cell));
  return align === 'right' ? padding + cell : cell + padding;
}

function widthOf(text: string): number {
  let width = 0;
  for (const character of text) width += characterWidth(character);
  return width;
}

function characterWidth(character: string): number {
  if (NO_WIDTH.test(character)) return 0;
  return WIDE.test(character) ? 2 : 1;
}
