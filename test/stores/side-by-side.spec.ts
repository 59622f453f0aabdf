import { describe, expect, it } from '@jest/globals';
import { SideBySide } from './side-by-side.js';

describe('stores side by side', () => {
  const rule = (run: () => Promise<void>) => [{ name: 'rule', run }];
  const stores = (limit?: number) =>
    new SideBySide(
      new Map([
        ['good', rule(async () => {})],
        ['bad', rule(() => Promise.reject(new Error('broken')))],
        ['hanging', rule(() => new Promise(() => {}))],
        ['without', []],
      ]),
      limit,
    );

  it('each store passes or fails for itself, even if another store hangs', async () => {
    const sideBySide = stores(20);
    await expect(sideBySide.keeps('good', 'rule')).resolves.toBeUndefined();
    await expect(sideBySide.keeps('bad', 'rule')).rejects.toThrow('broken');
    await expect(sideBySide.keeps('hanging', 'rule')).rejects.toThrow('It did not end within 20 ms.');
  });

  it('a test of a case that its store does not have fails', async () => {
    await expect(stores(20).keeps('without', 'rule')).rejects.toThrow('without has no rule "rule".');
  });
});
