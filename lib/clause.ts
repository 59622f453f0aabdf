/** A text of other code as a part of a sentence of ours, which brings its own full stop. */
export function clause(text: string): string {
  return text.replace(/[\s.!?:;,]+$/, '');
}
