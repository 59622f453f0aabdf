// node --import test/start/note-modules.mjs: appends the URL of each module that the process
// imports to the file LOADED_MODULES. Modules that a CommonJS package requires are left out.
import { appendFileSync } from 'node:fs';
import { register } from 'node:module';

// Node loads this file twice: for --import, and again as module hooks, which run in another
// thread.
const ofHooks = new URL('?hooks', import.meta.url).href;
if (import.meta.url !== ofHooks) register(ofHooks);

export async function load(url, context, next) {
  appendFileSync(process.env.LOADED_MODULES, `${url}\n`);
  return next(url, context);
}
