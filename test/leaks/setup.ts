import { expect } from '@jest/globals';

// The specs of stores provoke errors of servers, connections and rights. This setup fails
// every test in which one of these errors shows an owner id.
if (/[\\/]test[\\/](stores|leaks)[\\/]/.test(expect.getState().testPath ?? '')) {
  const { watchStores } = await import('./watch-stores.js');
  watchStores();
}
