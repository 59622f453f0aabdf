import { expect } from '@jest/globals';

// The specs of stores break servers, connections and rights. None of the errors that follow
// may show an owner id.
if (/[\\/]test[\\/](stores|leaks)[\\/]/.test(expect.getState().testPath ?? '')) {
  const { watchStores } = await import('./watch-stores.js');
  watchStores();
}
