/**
 * Cuts the final punctuation off a text from other code, so that a sentence of ours can go on
 * after it.
 */
export function clause(text: string): string {
  return text.replace(/[\s.!?:;,]+$/, '');
}
