import { describe, expect, it } from '@jest/globals';
import { spanText } from '../../lib/cli/lock-text.js';
import { withoutPasswords } from '../../lib/cli/output.js';
import { fitted, printable, tableLines } from '../../lib/cli/text-table.js';

describe('a table for people', () => {
  it('B79 columns are aligned, even if keys have wide or zero-width characters', () => {
    const columns = [
      { title: 'KEY', of: ({ key }: { key: string }) => key },
      { title: 'SIZE', of: ({ key }: { key: string }) => String(key.length), align: 'right' as const },
    ];
    expect(tableLines(columns, [{ key: 'a' }, { key: '日本' }, { key: 'e\u0301e\u0301e\u0301' }])).toEqual([
      'KEY   SIZE',
      'a        1',
      '日本     2',
      'e\u0301e\u0301e\u0301      6',
    ]);
  });

  it('B79 control characters are escaped before they reach the terminal', () => {
    expect(printable('a\x1b[2J\u202eb\nc\u0085é 日')).toBe('a\\u{1b}[2J\\u{202e}b\\nc\\u{85}é 日');
  });

  it('B79 a line is cut at the width of the terminal', () => {
    expect(fitted('abcdef', 6)).toBe('abcdef');
    expect(fitted('abcdef', 5)).toBe('abcd…');
    expect(fitted('日本語', 4)).toBe('日…');
  });

  it.each([
    [-5, '0.0s'],
    [29_940, '29.9s'],
    [61_000, '1m1s'],
    [3_700_000, '1h1m'],
    [90_000_000, '1d1h'],
    [Infinity, 'endless'],
  ])('B79 %d ms are shown as %s', (ms, text) => {
    expect(spanText(ms)).toBe(text);
  });

  it('B86 the password of a URL that an error quotes is hidden', () => {
    const text = "unknown command 'postgres://u:a/b@c@host/d', mongodb://u:p@h";
    expect(withoutPasswords(text)).toBe("unknown command 'postgres://u:***@host/d', mongodb://u:***@h");
  });
});
