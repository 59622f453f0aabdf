// Asks the language service, as an editor does, what it shows for each name of the public API.
import { afterAll, describe, expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import ts from 'typescript';
import { root } from './compiler.js';
import { hoversOf, languageService, lib } from './hovers.js';

/**
 * The tags in the comments of this library. Any other tag is a decorator in an example that
 * the compiler takes for a tag.
 */
const TAGS = new Set(['deprecated', 'example', 'internal', 'param', 'publicApi', 'returns', 'throws']);

/** The code of an application, in which the test asks an editor for the texts of names. */
const APPLICATION = `
import { Locked, LockModule, LockService, memoryStore } from '../../lib/index.js';
export const modules = [
  LockModule.forRoot({ store: memoryStore(), autoRenew: true, ttl: '1m', maxWaiters: { perKey: 3 } }),
  LockModule.forRootAsync({ useFactory: () => ({ store: memoryStore() }) }),
];
export class Orders {
  constructor(private readonly locks: LockService) {
    locks.events.on('released', (event) => event.heldFor);
  }
  @Locked({ key: 'orders', once: '5m' })
  async ship() {
    const result = await this.locks.tryRun('order', (lock) => lock.fencingToken);
    return result.acquired ? result.value : result.error;
  }
}
`;
const applicationFile = join(root, 'test/types/hovered-application.ts');

describe('texts that editors show', () => {
  const entries = entryFiles();
  const service = languageService(entries, applicationFile, APPLICATION);
  const hovers = hoversOf(service, entries);

  afterAll(() => service.dispose());

  /**
   * Returns the text that an editor shows at the first place where the application uses the
   * name.
   */
  function hoverAt(name: string): string {
    const place = new RegExp(`\\b${name}\\b(?=[:(,;)])`).exec(APPLICATION);
    const info = place && service.getQuickInfoAtPosition(applicationFile, place.index);
    return ts.displayPartsToString(info?.documentation);
  }

  it('E18 each export, option, property and method has a text that editors show', () => {
    const shown = new Set(hovers.filter(({ text }) => text !== '').map(({ name }) => name));

    expect(hovers.map(({ name }) => name).filter((name) => !shown.has(name))).toEqual([]);
    expect(hovers.length).toBeGreaterThan(300);
  });

  it('E18 the compiler takes no decorator in an example for a documentation tag', () => {
    const strange = hovers.filter(({ tags }) => tags.some((tag) => !TAGS.has(tag)));

    expect(strange.map(({ name, tags }) => `${name}: ${tags.join(', ')}`)).toEqual([]);
  });

  it.each([
    ['forRoot', 'Registers the store'],
    ['forRootAsync', 'options that a factory makes'],
    ['store', 'where the locks are kept'],
    ['perKey', 'How many calls may wait for one key'],
    ['autoRenew', 'Whether the lease is renewed'],
    ['ttl', 'Default 30 s'],
    ['once', 'At least 1 s|at least 1 s'],
    ['key', 'ClassName.methodName'],
    ['tryRun', 'instead of throwing'],
    ['error', 'Why the lock was not acquired'],
    ['heldFor', 'Milliseconds'],
    ['fencingToken', 'greater than'],
  ])('E18 in an application, an editor shows for the name "%s" the text "%s"', (name, words) => {
    expect(hoverAt(name)).toMatch(new RegExp(words));
  });
});

/** Returns the source files of the package's entry points. */
function entryFiles(): string[] {
  const { exports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    exports: Record<string, { import?: { types?: string } } | string>;
  };
  return Object.values(exports).flatMap((entry) => {
    const types = typeof entry === 'string' ? undefined : entry.import?.types;
    return types ? [join(lib, relative('dist/esm', types).replace(/\.d\.ts$/, '.ts'))] : [];
  });
}
