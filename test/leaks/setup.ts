import { expect } from '@jest/globals';

// The specs of stores break servers, links and rights: whatever error comes of that must not
// show an owner id.
if (/[\\/]test[\\/](stores|leaks)[\\/]/.test(expect.getState().testPath ?? '')) {
  const { watchStores } = await import('./watch-stores.js');
  watchStores();
}
