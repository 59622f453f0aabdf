// `require` and `import` of the package must give one LockService class, or the container could not find it under its token.
const { strict: assert } = require('node:assert');

const required = require('nestjs-locked');
import('nestjs-locked').then((imported) => assert.equal(required.LockService, imported.LockService));
